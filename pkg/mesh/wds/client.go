package wds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/metadata"
)

// The types of resources that are followed.
const (
	addressType       = "type.googleapis.com/istio.workload.Address"
	authorizationType = "type.googleapis.com/istio.security.Authorization"
)

// sink is what a Client feeds; a [Store] is one. One goroutine calls at a time. With full, changed is all that there is, and
// what else was known is gone; otherwise changed and removed are what is new, and no name is in both. What cannot be used is
// returned: of it, what was known before stays in force, also with full.
type sink interface {
	applyAddresses(full bool, changed []resource, removed []string) []rejected
	applyPolicies(full bool, changed []resource, removed []string) []rejected
}

// ClientOptions say whom to follow and who asks. Address, TLS, Node and Store are required.
type ClientOptions struct {
	// Address is istiod's, host:port: istiod.istio-system.svc:15012.
	Address string
	// TLS is asked at each connect, because roots change. Where it is nil the connection is in the clear and carries no
	// token, which is for tests: nothing on it proves that it is istiod who answers.
	TLS func() (*tls.Config, error)
	// Token is asked at each connect, because tokens are renewed. Where it is nil, TLS has to bring a client certificate.
	Token func() (string, error)
	Node  Node
	// Headers are sent with each stream. A clusterid that is missing is taken from Node.
	Headers map[string]string
	Store   *Store
	Log     *slog.Logger // nil means slog.Default
	// Dial connects to Address; nil means TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Client follows istiod: it keeps a [Store] as istiod's newest word has it, for as long as it runs. While istiod is away,
// what it said last stays in force, however long that takes.
type Client struct {
	opt     ClientOptions
	node    *core.Node
	headers metadata.MD
	types   []*subscription // in the order in which istiod pushes them
	wait    backoff

	running sync.Mutex // held by Run

	mu     sync.Mutex // guards the fields below
	status Status
	first  []string // the types of which nothing was applied yet, by what they are
	cause  error    // why the last stream ended; nil while none has
	spoken spoken
}

// NewClient checks the options; it connects nowhere.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Store == nil {
		return nil, errors.New("wds: ClientOptions.Store is required")
	}
	return newClient(o, o.Store)
}

func newClient(o ClientOptions, to sink) (*Client, error) {
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		return nil, fmt.Errorf("wds: ClientOptions.Address: %w", err)
	}
	if err := o.Node.check(); err != nil {
		return nil, fmt.Errorf("wds: ClientOptions.Node: %w", err)
	}
	node, err := o.Node.proto(o.Address)
	if err != nil {
		return nil, fmt.Errorf("wds: ClientOptions.Node: %w", err)
	}
	headers, err := o.headers()
	if err != nil {
		return nil, fmt.Errorf("wds: ClientOptions.Headers: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Dial == nil {
		o.Dial = dialTCP
	}
	c := &Client{opt: o, node: node, headers: headers, types: []*subscription{
		{typeURL: addressType, what: "addresses", apply: to.applyAddresses, held: map[string]string{}},
		{typeURL: authorizationType, what: "policies", apply: to.applyPolicies},
	}}
	for _, t := range c.types {
		c.first = append(c.first, t.what)
	}
	c.status = Status{Address: o.Address, Since: time.Now()}
	return c, nil
}

// headers are those of the options and the cluster that says where the token is valid.
func (o *ClientOptions) headers() (metadata.MD, error) {
	md := metadata.MD{}
	if o.Node.Cluster != "" {
		md.Set("clusterid", o.Node.Cluster)
	}
	for name, value := range o.Headers {
		switch key := strings.ToLower(name); {
		case !validName(key):
			return nil, fmt.Errorf("%q is not a name of gRPC metadata", name)
		case key == "authorization" && o.Token != nil:
			return nil, errors.New("authorization is what Token is for")
		case !validValue(value):
			return nil, fmt.Errorf("%s: the value has a character that is not printable ASCII", name)
		default:
			md.Set(key, value)
		}
	}
	return md, nil
}

// validName says whether gRPC takes a name and does not keep it for itself; names that end in -bin are encoded otherwise.
func validName(name string) bool {
	return name != "" && !strings.HasPrefix(name, "grpc-") && !strings.HasSuffix(name, "-bin") &&
		strings.Trim(name, "0123456789abcdefghijklmnopqrstuvwxyz_-.") == ""
}

func validValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// Run follows istiod until ctx ends, and then returns nil. Whatever becomes of a connection, there is a next one.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.TryLock() {
		return errors.New("wds: the client runs already")
	}
	defer c.running.Unlock()
	for {
		answered, err := c.follow(ctx)
		if ctx.Err() != nil {
			c.ended(nil, false, 0)
			return nil
		}
		ok := orderly(!answered.IsZero(), err)
		wait := c.wait.next(ok || lasted(answered))
		c.ended(err, ok, wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// metadata is what a stream carries besides its messages. The token goes nowhere else.
func (c *Client) metadata() (metadata.MD, error) {
	md := metadata.MD(maps.Clone(c.headers))
	if c.opt.Token == nil || c.opt.TLS == nil {
		return md, nil
	}
	token, err := c.opt.Token()
	switch {
	case err != nil:
		return nil, fmt.Errorf("token: %w", err)
	case token == "":
		return nil, errors.New("token: it is empty")
	case !validValue(token):
		return nil, errors.New("token: it has a character that no token has")
	}
	md.Set("authorization", "Bearer "+token)
	return md, nil
}
