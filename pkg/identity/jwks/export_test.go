package jwks

import "bytes"

// VerifySignature is what Verify does with a signature, for vectors whose payload is no claims.
func VerifySignature(compact string, set []byte) error {
	t := &token{}
	parts := bytes.Split([]byte(compact), []byte("."))
	if len(parts) != 3 {
		return ErrMalformed
	}
	header, err := decodePart("header", string(parts[0]))
	if err != nil {
		return err
	}
	if t.claims.Raw, err = decodePart("payload", string(parts[1])); err != nil {
		return err
	}
	if _, err = decodePart("signature", string(parts[2])); err != nil {
		return err
	}
	if err = t.readHeader(header); err != nil {
		return err
	}
	if _, ok := algorithms[t.alg]; !ok {
		return ErrAlgorithm
	}
	s, err := parseSet(set)
	if err != nil {
		return err
	}
	k := s.find(t.kid, t.alg)
	if k == nil {
		return ErrUnknownKey
	}
	return checkSignature(compact, t, k)
}
