package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json/v2"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/sts"
)

// readClients reads the clients of a token service that have no identity of the mesh: a JSON object by client_id. The file holds
// no secret, only the digest of one.
func readClients(file string) (map[string]sts.RegisteredClient, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var listed map[string]struct {
		SecretSHA256 string `json:"secretSHA256"` // 64 hexadecimal digits
		PublicKey    string `json:"publicKey"`    // PEM (PKIX), of its assertions
		Algorithm    string `json:"algorithm"`    // of its assertions; what suits the key if it is empty
	}
	if err := json.Unmarshal(b, &listed, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	clients := map[string]sts.RegisteredClient{}
	for id, l := range listed {
		c := sts.RegisteredClient{ID: id, Algorithm: l.Algorithm}
		if (l.SecretSHA256 == "") == (l.PublicKey == "") {
			return nil, fmt.Errorf("%s: %s: exactly one of secretSHA256 and publicKey is needed", file, id)
		}
		if l.SecretSHA256 != "" {
			if c.SecretSHA256, err = hex.DecodeString(l.SecretSHA256); err != nil || len(c.SecretSHA256) != 32 {
				return nil, fmt.Errorf("%s: %s: secretSHA256 is no SHA-256 in hexadecimal", file, id)
			}
		} else {
			block, _ := pem.Decode([]byte(l.PublicKey))
			if block == nil || block.Type != "PUBLIC KEY" {
				return nil, fmt.Errorf("%s: %s: publicKey is no public key in PEM", file, id)
			}
			if c.Key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
				return nil, fmt.Errorf("%s: %s: publicKey cannot be read", file, id)
			}
		}
		clients[id] = c
	}
	return clients, nil
}

// reviewer asks an API server whose service-account token that is (TokenReview, authentication.k8s.io/v1).
type reviewer struct {
	api       dynamic.Interface
	domain    identity.TrustDomain
	audiences []string
}

// Review implements sts.Reviewer.
func (r *reviewer) Review(ctx context.Context, token string) (identity.ID, error) {
	audiences := make([]any, len(r.audiences))
	for i, a := range r.audiences {
		audiences[i] = a
	}
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": map[string]any{"token": token, "audiences": audiences},
	}}
	resource := schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "tokenreviews"}
	answer, err := r.api.Resource(resource).Create(ctx, review, metav1.CreateOptions{})
	if err != nil { // not its text, which may repeat the token
		return identity.ID{}, fmt.Errorf("%w: create on tokenreviews.authentication.k8s.io: %s", sts.ErrNotReviewed, cmp.Or(string(apierrors.ReasonForError(err)), "no answer"))
	}
	good, _, _ := unstructured.NestedBool(answer.Object, "status", "authenticated")
	name, _, _ := unstructured.NestedString(answer.Object, "status", "user", "username")
	fits, _, _ := unstructured.NestedStringSlice(answer.Object, "status", "audiences")
	account, ok := strings.CutPrefix(name, "system:serviceaccount:")
	namespace, account, both := strings.Cut(account, ":")
	if !good || !ok || !both || len(fits) == 0 {
		return identity.ID{}, errors.New("the API server does not vouch for it")
	}
	return identity.ForServiceAccount(r.domain, namespace, account)
}
