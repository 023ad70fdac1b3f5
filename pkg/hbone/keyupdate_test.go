package hbone_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/identity/certs"
)

// CVE-2026-32283, CVE-2026-56862: a client that does nothing but ask for new keys. crypto/tls cannot be told to do that,
// so the records are made by hand from the secret that it logs for debugging (RFC 8446, sections 5.2, 7.2 and 7.3).
func TestKeyUpdateFlood(t *testing.T) {
	addr, healthy := hostileServer(t, echo)
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	var log bytes.Buffer
	config := certs.ClientConfig(certs.Static(clientMaterial()), trust)
	config.KeyLogWriter = &log
	client := tls.Client(conn, config)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the records are made for AES-128-GCM, negotiated %s", tls.CipherSuiteName(suite))
	}
	secret := loggedSecret(t, log.String())
	go io.Copy(io.Discard, conn)
	for range 100_000 {
		if _, err := conn.Write(keyUpdate(t, secret)); err != nil {
			stillServes(t, healthy)
			return
		}
		secret = expandLabel(t, secret, "traffic upd", 32)
	}
	t.Error("100,000 key updates were tolerated")
}

func loggedSecret(t *testing.T, log string) []byte {
	t.Helper()
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatal("no secret in the key log")
	return nil
}

// keyUpdate is one record under the first sequence number of the secret's keys; each update starts a new count.
func keyUpdate(t *testing.T, secret []byte) []byte {
	block, err := aes.NewCipher(expandLabel(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte{24, 0, 0, 1, 1, 22} // KeyUpdate, update_requested; content type handshake
	header := []byte{23, 3, 3, 0, byte(len(message) + aead.Overhead())}
	return aead.Seal(header, expandLabel(t, secret, "iv", 12), message, header)
}

func expandLabel(t *testing.T, secret []byte, label string, n int) []byte {
	info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
