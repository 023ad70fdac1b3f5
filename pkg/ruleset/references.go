package ruleset

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"context"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/fetch"
)

// References find what objects name instead of saying it. Each is nil where there is nothing of the kind.
type References struct {
	// Host returns the hostname of what a backendRef of an object of a kind, in a namespace, names.
	Host func(kind, namespace string, ref v1alpha1.BackendRef) (string, error)
	// ConfigMap and Secret return one entry.
	ConfigMap func(namespace, name, key string) ([]byte, error)
	Secret    func(namespace, name, key string) ([]byte, error)
}

func (r *References) host(kind, namespace string, ref v1alpha1.BackendRef) (string, error) {
	if r.Host == nil {
		return "", fmt.Errorf("there are no services to look for %s in", ref.Name)
	}
	return r.Host(kind, namespace, ref)
}

func (r *References) configMap(namespace string, ref v1alpha1.ConfigMapKeyRef) ([]byte, error) {
	if r.ConfigMap == nil {
		return nil, fmt.Errorf("there is no way to read ConfigMap %s/%s here", namespace, ref.Name)
	}
	return r.ConfigMap(namespace, ref.Name, ref.Key)
}

func (r *References) secret(namespace string, ref v1alpha1.SecretKeyRef) ([]byte, error) {
	if r.Secret == nil {
		return nil, fmt.Errorf("there is no way to read Secret %s/%s here", namespace, ref.Name)
	}
	return r.Secret(namespace, ref.Name, ref.Key)
}

// place is an endpoint with everything it names looked up: all there is to know it by.
type place struct {
	URL     string
	Host    string // of a service of the mesh; then URL is http
	Port    uint16
	Roots   []string // PEM; empty means the system's
	Timeout time.Duration
}

// placeOf looks an endpoint up. path is the default at a backendRef.
func (c *compiler) placeOf(field string, e *v1alpha1.Endpoint, path string) place {
	p := place{Timeout: c.duration(field+".timeout", e.Timeout, 5*time.Second, 10*time.Millisecond, time.Minute)}
	switch {
	case (e.URL == "") == (e.BackendRef == nil):
		c.add(field, "must have exactly one of url and backendRef")
	case e.URL != "":
		u, err := url.Parse(string(e.URL))
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			c.add(field+".url", "must be an absolute https URL without user information and fragment")
		}
		if e.Path != "" {
			c.add(field+".path", "belongs to backendRef")
		}
		p.URL = string(e.URL)
		p.Roots = c.roots(field+".caCertificates", e.CACertificates)
	default:
		p = c.service(field, p, e, path)
	}
	return p
}

func (c *compiler) service(field string, p place, e *v1alpha1.Endpoint, path string) place {
	if e.Path != "" {
		path = e.Path
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " #\\") {
		c.add(field+".path", "must begin with / and have no space, # or backslash")
	}
	if len(e.CACertificates) > 0 {
		c.add(field+".caCertificates", "belongs to url: the mesh proves who a service is")
	}
	p.Host, p.Port = c.backend(field+".backendRef", *e.BackendRef)
	p.URL = "http://" + net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) + path
	return p
}

// backend looks a port of a service up.
func (c *compiler) backend(field string, ref v1alpha1.BackendRef) (string, uint16) {
	if ref.Port < 1 || ref.Port > 65535 {
		c.add(field+".port", "must be from 1 to 65535")
		return "", 0
	}
	host, err := c.refs.host(c.kind, c.namespace, ref)
	if err != nil {
		c.add(field, "%v", err)
	}
	return host, uint16(ref.Port)
}

func (c *compiler) roots(field string, refs []v1alpha1.ConfigMapKeyRef) []string {
	var bundles []string
	for i, ref := range refs {
		b, err := c.refs.configMap(c.namespace, ref)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(b) {
			err = fmt.Errorf("ConfigMap %s/%s: %s has no certificate in PEM", c.namespace, ref.Name, ref.Key)
		}
		if err != nil {
			c.add(fmt.Sprintf("%s[%d]", field, i), "%v", err)
			continue
		}
		bundles = append(bundles, string(b))
	}
	return bundles
}

// client reaches a place. limit is of its answers, in bytes.
func (a *Authorities) client(p place, own bool, limit int64) (*fetch.Client, error) {
	o := fetch.Options{URL: p.URL, Timeout: min(p.Timeout, 30*time.Second), MaxBytes: limit, AllowPrivate: true, AllowLoopback: a.Loopback}
	if p.Host != "" {
		o.Via = func(ctx context.Context) (net.Conn, error) { return a.dial(ctx, p.Host, p.Port) }
	}
	if len(p.Roots) > 0 {
		o.Roots = x509.NewCertPool()
		for _, b := range p.Roots {
			o.Roots.AppendCertsFromPEM([]byte(b))
		}
	}
	if own && p.Host == "" {
		o.Certificate = a.Certificate
	}
	return fetch.New(o)
}
