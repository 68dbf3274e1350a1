package tokencache

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"roomgate/internal/secret"
)

// Key names one token and holds the cipher that seals it in Redis. Create it with NewKey. It may be copied and is safe for
// concurrent use as long as nobody changes its fields.
type Key struct {
	// Labels are the values of Options.Labels, in the same order, for metrics, status and logs. A missing value is "". Keys
	// that differ only here name the same token.
	Labels []string
	// AskedLife is the lifetime that a fetch asks for. It limits the fetches without Redis until a token has arrived; then that
	// token's lifetime does. 0: unknown.
	AskedLife time.Duration

	id  string // opaque; only letters, digits, - and _
	box Seal
}

// NewKey returns the key of a token that is fetched with a secret. scope is everything else that changes what the token may do.
// Keys with the same secret and scope name the same token. Neither can be read back from the key's name in Redis. An empty
// secret is an error.
func NewKey(from secret.Value, scope ...string) (Key, error) {
	nameKey, err := derive(from, "roomgate entry name v1")
	if err != nil {
		return Key{}, err
	}
	box, err := NewSeal(from, "roomgate entry seal v1")
	if err != nil {
		return Key{}, err
	}
	mac := hmac.New(sha256.New, nameKey)
	for _, part := range scope {
		// The length keeps ("ab","c") and ("a","bc") apart.
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return Key{id: base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]), box: box}, nil
}

// Same reports whether both keys name the same token.
func (k Key) Same(other Key) bool { return k.id == other.id }
