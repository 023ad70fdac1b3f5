package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Defaults and limits.
const (
	DefaultTimeout = 5 * time.Second
	MaxTimeout     = time.Minute
	DefaultBytes   = 1 << 20
)

// Options say where to, and how much of it.
type Options struct {
	URL           string                                      // https; http with Via
	Roots         *x509.CertPool                              // nil is the system's
	Certificate   func() (*tls.Certificate, error)            // of ours, shown to who asks for one; nil shows none
	Via           func(ctx context.Context) (net.Conn, error) // to a service of the mesh: instead of DNS and TCP
	AllowPrivate  bool                                        // addresses of RFC 1918 and RFC 4193 too
	AllowLoopback bool                                        // on a laptop, and in tests
	Timeout       time.Duration                               // of one exchange; 0 is DefaultTimeout, at most MaxTimeout
	MaxBytes      int64                                       // of an answer; 0 is DefaultBytes

	// Resolve looks up a name; nil is the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Errors a caller may branch on.
var (
	ErrTooLarge = errors.New("fetch: answer too large")
	ErrAddress  = errors.New("address is not allowed")
)

// StatusError is an answer with another status than 200.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("fetch: status %d", e.Status) }

// Client exchanges messages with one place. It is safe for use by many.
type Client struct {
	options Options
	url     *url.URL
	http    *http.Client
}

// New checks where a client would lead.
func New(o Options) (*Client, error) {
	scheme := "https"
	if o.Via != nil {
		scheme = "http"
	}
	u, err := parseURL(scheme, o.URL)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && o.Via == nil && !o.reachable(a) {
		return nil, fmt.Errorf("fetch: %w: %s", ErrAddress, a)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultBytes
	}
	if o.Timeout < 0 || o.Timeout > MaxTimeout || o.MaxBytes < 0 {
		return nil, fmt.Errorf("fetch: timeout of %s, want up to %s", o.Timeout, MaxTimeout)
	}
	if o.Resolve == nil {
		o.Resolve = lookup
	}
	c := &Client{options: o, url: u}
	c.http = &http.Client{
		Transport:     c.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirects are not followed") },
	}
	return c, nil
}

// lookup asks the system's resolver. A name with a dot is complete: the search list of a pod would otherwise let whoever owns a
// namespace named like a domain answer for it.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if strings.Contains(host, ".") {
		host += "."
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func (c *Client) transport() *http.Transport {
	t := &http.Transport{
		Proxy: nil, DialContext: c.dial, DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig:        &tls.Config{RootCAs: c.options.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    c.options.Timeout,
		MaxResponseHeaderBytes: 16 << 10,
	}
	if own := c.options.Certificate; own != nil {
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() }
	}
	return t
}

// URL is where the client leads.
func (c *Client) URL() string { return c.url.String() }

// Get returns the body of an answer with status 200, and its header.
func (c *Client) Get(ctx context.Context) ([]byte, http.Header, error) {
	status, body, header, err := c.exchange(ctx, http.MethodGet, nil, http.Header{"Accept": {"application/json, application/*+json"}})
	if err == nil && status != http.StatusOK {
		err = &StatusError{status}
	}
	if err != nil {
		return nil, nil, err
	}
	return body, header, nil
}

// Post sends a body and returns the answer, whatever its status.
func (c *Client) Post(ctx context.Context, contentType string, body []byte, header http.Header) (status int, answer []byte, err error) {
	h := header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Type", contentType)
	h.Set("Accept", "application/json")
	status, answer, _, err = c.exchange(ctx, http.MethodPost, body, h)
	return status, answer, err
}

func (c *Client) exchange(ctx context.Context, method string, body []byte, h http.Header) (int, []byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, errors.New("fetch: the request cannot be made")
	}
	req.Header = h
	req.Header.Set("User-Agent", "waymark")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, c.failed(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := c.read(ctx, resp)
	return resp.StatusCode, answer, resp.Header, err
}

// failed leaves out the URL, which net/http puts before the cause and which may have a secret in its query.
func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("fetch: no answer in time: %w", ctx.Err())
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("fetch: %w", err)
}

func (c *Client) read(ctx context.Context, resp *http.Response) ([]byte, error) {
	limit := c.options.MaxBytes
	switch {
	case resp.Header.Get("Content-Encoding") != "":
		return nil, errors.New("fetch: the answer is encoded")
	case resp.ContentLength > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case ctx.Err() != nil: // an answer that is cut off by the end of its time can look like a short one
		return nil, fmt.Errorf("fetch: no answer in time: %w", ctx.Err())
	case err != nil:
		return nil, errors.New("fetch: the answer broke off")
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return b, nil
}

// dial looks a host up once and connects to the addresses that were checked, and to no others.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout) // net/http lets a connection be made for longer than the request waits
	defer cancel()
	if c.options.Via != nil {
		return c.options.Via(ctx)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = c.options.Resolve(ctx, host); err != nil {
		return nil, errors.New("the host cannot be looked up")
	}
	for i, a := range addrs {
		if a.Is4In6() { // how the system's resolver writes IPv4
			a = a.Unmap()
			addrs[i] = a
		}
		if !c.options.reachable(a) {
			return nil, fmt.Errorf("%w: %s", ErrAddress, a)
		}
	}
	err = errors.New("the host has no address")
	for _, a := range addrs[:min(len(addrs), 4)] {
		var conn net.Conn
		d := net.Dialer{KeepAlive: -1}
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
