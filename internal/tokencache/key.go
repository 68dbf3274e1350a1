package tokencache

// This file derives from a key's secret the name under which its token lies in Redis and the cipher that seals it.

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Key names one token. Two keys are the same exactly when their secret and scope are.
type Key struct {
	// Labels are the values of Options.Labels, in their order, for metrics, status and logs. A value that is missing is "".
	// They don't take part in the identity.
	Labels []string
	// AskedLife is the life that a fetch asks for: it sets the fetch budget until a token has told the real one.
	AskedLife time.Duration

	id   string // opaque; fit for a Redis key name
	aead cipher.AEAD
}

// NewKey makes the key for everything that changes a token's authority: the secret that it is fetched with, and the
// parts of scope. None of them can be read back from the key's name in Redis.
func NewKey(secret Secret, scope ...string) (Key, error) {
	if secret.Reveal() == "" {
		return Key{}, errors.New("a key needs a secret")
	}
	nameKey, err := derive(secret, "roomgate entry name v1")
	if err != nil {
		return Key{}, err
	}
	sealKey, err := derive(secret, "roomgate entry seal v1")
	if err != nil {
		return Key{}, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return Key{}, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return Key{}, fmt.Errorf("seal: %w", err)
	}
	mac := hmac.New(sha256.New, nameKey)
	for _, part := range scope {
		// The length keeps ("ab","c") and ("a","bc") apart.
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return Key{id: base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]), aead: aead}, nil
}

// Same reports whether both name the same token.
func (k Key) Same(other Key) bool { return k.id == other.id }

// derive gives a 32-byte key for one purpose (RFC 5869).
func derive(secret Secret, purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return key, nil
}
