package istioca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"istio.io/api/security/v1alpha1"
)

const (
	callTimeout    = 15 * time.Second // connecting included
	connectTimeout = 5 * time.Second
	maxAnswer      = 4 << 20
	maxReason      = 512 // bytes of what a CA says about a refusal
)

// ask makes one call.
func (s *Source) ask(ctx context.Context) (*issued, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key, request, err := newRequest(s.opt.ID)
	if err != nil {
		return nil, fmt.Errorf("istioca: request: %w", err)
	}
	answer, err := s.call(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("istioca: %w", err)
	}
	s.mu.Lock()
	mounted := s.file
	s.mu.Unlock()
	got, err := accept(answer, key, s.opt.ID, mounted)
	if err != nil {
		return nil, fmt.Errorf("istioca: %s: %w", s.opt.Address, err)
	}
	return got, nil
}

// call sends a request over a connection of its own. There is one call in half a day, and each has to see the newest roots
// and the newest token, so there is nothing in a connection that would be worth keeping.
func (s *Source) call(ctx context.Context, request string) ([]string, error) {
	token, err := s.opt.Token()
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if token = strings.TrimSpace(token); token == "" {
		return nil, errors.New("token: it is empty")
	}
	config, err := s.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.opt.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(s.opt.Dial),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithUserAgent("waymark-waypoint"),
	)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	message := &v1alpha1.IstioCertificateRequest{Csr: request, ValidityDuration: int64(s.opt.TTL / time.Second)}
	if s.opt.Signer != "" {
		message.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"CertSigner": structpb.NewStringValue(s.opt.Signer)}}
	}
	headers := metadata.New(s.opt.Headers)
	headers.Set("authorization", "Bearer "+token)
	answer, err := v1alpha1.NewIstioCertificateServiceClient(conn).CreateCertificate(metadata.NewOutgoingContext(ctx, headers), message)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %s", s.opt.Address, status.Code(err), reason(err, token))
	}
	return answer.GetCertChain(), nil
}

// reason is what the CA or gRPC says about a failure, fit for a log: short, without the token, and with the likely cause where
// istiod keeps it to itself.
func reason(err error, token string) string {
	text := strings.ReplaceAll(status.Convert(err).Message(), token, "(token)")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	if status.Code(err) == codes.Unauthenticated {
		text += " (likely: the token has expired or is not for audience istio-ca, or clusterid is not istiod's name of this cluster)"
	}
	return text
}

// tlsConfig is how the CA is verified in the call that is about to be made.
func (s *Source) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.opt.TLS == nil {
		s.mu.Lock()
		roots, err := s.file, s.fileErr
		s.mu.Unlock()
		if len(roots) == 0 {
			return nil, fmt.Errorf("no roots: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		for _, c := range roots {
			config.RootCAs.AddCert(c)
		}
	} else {
		given, err := s.opt.TLS()
		switch {
		case err != nil:
			return nil, err
		case given == nil:
			return nil, errors.New("there is no configuration")
		case given.InsecureSkipVerify && given.VerifyConnection == nil:
			return nil, errors.New("the configuration does not verify the CA, which would be given our token")
		}
		config = given.Clone()
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(s.opt.Address)
	}
	return config, nil
}
