package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseBundle reads concatenated PEM certificates strictly: one broken certificate makes the whole bundle unusable, because
// what was meant to be trusted, or no longer trusted, is then unknown.
func ParseBundle(bundle []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	err := eachBlock(bundle, "CERTIFICATE", func(der []byte) error {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, errors.New("no certificate")
	}
	return all, nil
}

// LoadBundle is [ParseBundle] for a file.
func LoadBundle(path string) ([]*x509.Certificate, error) {
	content, err := readFile(path, maxFile)
	if err != nil {
		return nil, err
	}
	bundle, err := ParseBundle(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bundle, nil
}

// eachBlock hands over the content of every PEM block, all of which must be of the given type. Text that is not in a block
// is allowed before one, where tools put a description, and not after the last: there it is a block that broke off.
// encoding/pem passes over a block that it cannot read, which must not go unnoticed: what begins a block has to be one.
func eachBlock(text []byte, kind string, use func(der []byte) error) error {
	blocks := 0
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return errors.New("not PEM")
		}
		if block.Type != kind {
			return fmt.Errorf("unexpected PEM block %q", block.Type)
		}
		if err := use(block.Bytes); err != nil {
			return err
		}
		blocks++
	}
	if begun := bytes.Count(text, []byte("-----BEGIN ")); begun != blocks {
		return fmt.Errorf("%d of %d PEM blocks are broken", begun-blocks, begun)
	}
	return nil
}
