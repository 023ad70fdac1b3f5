package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	tokenLife    = 10 * time.Minute // the shortest that the API server gives
	tokenTimeout = 10 * time.Second // for one request
	maxAudiences = 64               // tokens that are remembered
)

// Tokens gets tokens of one service account for the audiences that are asked for (TokenRequest of authentication.k8s.io/v1), which needs
// the right to create serviceaccounts/token of that name. Each is remembered until half of its life is over. It is safe for
// concurrent use.
type Tokens struct {
	accounts  dynamic.ResourceInterface
	name      string
	namespace string

	mu    sync.Mutex
	known map[string]token
}

type token struct {
	text  string
	until time.Time
}

// NewTokens prepares the source. It does not talk to the API server yet.
func NewTokens(cfg *rest.Config, namespace, account string) (*Tokens, error) {
	api, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	return &Tokens{
		accounts: api.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace),
		name:     account, namespace: namespace, known: map[string]token{},
	}, nil
}

// For returns a token for an audience. An error says what the API server said, which is never a token.
func (t *Tokens) For(ctx context.Context, audience string) (string, error) {
	now := time.Now()
	t.mu.Lock()
	have := t.known[audience]
	t.mu.Unlock()
	if now.Before(have.until) {
		return have.text, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	answer, err := t.accounts.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": t.name},
		"spec": map[string]any{"audiences": []any{audience}, "expirationSeconds": int64(tokenLife / time.Second)},
	}}, metav1.CreateOptions{}, "token")
	if err != nil {
		return "", fmt.Errorf("kube: a token of service account %s/%s: %w", t.namespace, t.name, err)
	}
	text, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	ends, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	until, err := time.Parse(time.RFC3339, ends)
	if text == "" || err != nil {
		return "", fmt.Errorf("kube: a token of service account %s/%s: the API server's answer has none, or not its end", t.namespace, t.name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxAudiences {
		clear(t.known)
	}
	t.known[audience] = token{text, now.Add(until.Sub(now) / 2)}
	return text, nil
}
