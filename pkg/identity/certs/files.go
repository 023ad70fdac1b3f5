package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// pollInterval is how often file content is compared. Polling survives every way in which files get replaced (rename,
// symbolic links of a mounted Secret, truncate and write) and costs three small reads.
const pollInterval = time.Second

// maxFile bounds what we read of a credential file; a bundle of a hundred roots is below 200 KB.
const maxFile = 1 << 20

// Files is a [Source] that reads PEM files and follows their content. What does not parse, or does not belong together,
// is not used: the last good material stays. Until there was a good one, it is not ready.
type Files struct {
	paths filePaths
	now   func() time.Time

	mu      sync.Mutex
	current *Material
	digest  [sha256.Size]byte // of the content that was examined last, good or bad
	err     error             // why the newest content is not in use
}

type filePaths struct{ certificate, key, roots string }

// NewFiles reads the three files once. Content that cannot be used yet is not an error here: [Files.Current] says so
// and [Files.Run] keeps looking. An error means that a path is missing from the call.
func NewFiles(certFile, keyFile, rootsFile string) (*Files, error) {
	if certFile == "" || keyFile == "" || rootsFile == "" {
		return nil, errors.New("certs: certificate, key and roots files must all be named")
	}
	f := &Files{paths: filePaths{certFile, keyFile, rootsFile}, now: time.Now}
	f.poll()
	return f, nil
}

// Names of the files in a directory of credentials, as Istio's agent writes them.
const (
	ChainFile = "cert-chain.pem"
	KeyFile   = "key.pem"
	RootsFile = "root-cert.pem"
)

// NewDirectory is [NewFiles] for a directory that holds ChainFile, KeyFile and RootsFile.
func NewDirectory(dir string) (*Files, error) {
	if dir == "" {
		return nil, errors.New("certs: the directory must be named")
	}
	return NewFiles(filepath.Join(dir, ChainFile), filepath.Join(dir, KeyFile), filepath.Join(dir, RootsFile))
}

// Run follows the files until ctx ends, and then returns nil.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.poll()
		}
	}
}

// Current returns the last good material, unless it has expired meanwhile.
func (f *Files) Current() (*Material, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReady, f.err)
	}
	if err := f.current.Valid(f.now()); err != nil {
		return nil, err
	}
	return f.current, nil
}

// Err says why the newest content of the files is not in use; nil if it is.
func (f *Files) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *Files) poll() {
	content, err := f.paths.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err, f.digest = err, [sha256.Size]byte{}
		return
	}
	digest := content.digest()
	if digest == f.digest {
		return
	}
	f.digest = digest
	m, err := content.material()
	if f.err = err; err == nil {
		f.current = m
	}
}

// fileContent is what the three files held at one moment.
type fileContent struct{ certificate, key, roots []byte }

func (p filePaths) read() (*fileContent, error) {
	var c fileContent
	for _, file := range []struct {
		path string
		into *[]byte
	}{{p.certificate, &c.certificate}, {p.key, &c.key}, {p.roots, &c.roots}} {
		b, err := readFile(file.path, maxFile)
		if err != nil {
			return nil, fmt.Errorf("certs: %w", err)
		}
		*file.into = b
	}
	return &c, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	case len(bytes.TrimSpace(b)) == 0:
		return nil, fmt.Errorf("%s %w", path, errEmpty)
	}
	return b, nil
}

var errEmpty = errors.New("is empty")

func (c *fileContent) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{c.certificate, c.key, c.roots} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (c *fileContent) material() (*Material, error) {
	certificate, err := tls.X509KeyPair(c.certificate, c.key)
	if err != nil {
		// The text of crypto/tls never quotes key bytes.
		return nil, fmt.Errorf("certs: certificate and key: %w", err)
	}
	roots, err := ParseBundle(c.roots)
	if err != nil {
		return nil, fmt.Errorf("certs: roots: %w", err)
	}
	return NewMaterial(certificate, roots)
}
