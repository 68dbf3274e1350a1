package tokencache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"roomgate/internal/secret"
)

// Seal encrypts and authenticates data that leaves the process, with AES-256-GCM. Make one with NewSeal. It is safe for concurrent use.
type Seal struct{ aead cipher.AEAD }

// NewSeal returns a seal whose key is derived from the secret for one purpose (HKDF, RFC 5869). It doesn't open what was sealed for
// another purpose. An empty secret is an error.
func NewSeal(from secret.Value, purpose string) (Seal, error) {
	key, err := derive(from, purpose)
	if err != nil {
		return Seal{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return Seal{}, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return Seal{}, fmt.Errorf("seal: %w", err)
	}
	return Seal{aead}, nil
}

// Seal returns plain encrypted, behind a random nonce. It opens under the same name only.
func (s Seal) Seal(name string, plain []byte) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(name)) //nolint:gosec // nil is what this AEAD wants: it draws the nonce itself
}

// Open is the inverse of Seal. The error doesn't tell the cause: that would help only an attacker.
func (s Seal) Open(name string, box []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, box, []byte(name))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// derive returns a 32-byte key for one purpose (HKDF, RFC 5869). Keys for different purposes are independent.
func derive(from secret.Value, purpose string) ([]byte, error) {
	if from.IsZero() {
		return nil, errors.New("a key needs a secret")
	}
	key, err := hkdf.Key(sha256.New, []byte(from.Reveal()), nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return key, nil
}
