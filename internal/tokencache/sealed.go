package tokencache

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// The kinds of entries, as the text after the generation. The seal includes the kind, so an entry doesn't open as another.
const (
	markValue     = ":" // a token or a note
	markTombstone = "!" // a rejected generation; it has no value
)

// sealed is the plaintext of an entry in Redis.
type sealed struct {
	// expiry is when the entry ends by Redis's clock, in milliseconds.
	expiry time.Time
	// life is the whole lifetime, in milliseconds. The entry never holds for longer, whatever the clocks say.
	life time.Duration
	// generation is that of the token or tombstone, or the refused one. In a note of failure it is the number of failures in a row.
	generation uint64
	// value is the token, or the class of the failure.
	value []byte
}

// sealedHeader is the length of the three numbers before the value.
const sealedHeader = 3 * 8

// maxAttempts is the largest number of failures that is read from a note. It keeps the conversion to int safe.
const maxAttempts = 1 << 20

// errSealed is the only error of unpack and open. To tell the reasons apart would help only an attacker.
var errSealed = errors.New("entry does not open")

// pack returns the text of an entry that ends in left: the generation, the mark, and the sealed data in base64. Scripts compare the
// generation in clear. Replicas believe the one in the sealed data. If in has no life, left is its life.
func (s *store) pack(k Key, part, mark string, in sealed, left time.Duration) string {
	in.expiry = s.redis.Now().Add(left)
	if in.life == 0 {
		in.life = left
	}
	return format(in.generation) + mark + base64.RawStdEncoding.EncodeToString(k.seal(s.name(k, part)+mark, in))
}

// unpack opens the text of an entry. The key, the part and the mark must be those that it was packed with. The two generations
// must be the same. It checks no time: rest does. The error is errSealed.
func (s *store) unpack(k Key, part, mark, raw string) (sealed, error) {
	end := strings.Index(raw, mark)
	if end < 0 {
		return sealed{}, errSealed
	}
	box, err := base64.RawStdEncoding.DecodeString(raw[end+1:])
	if err != nil {
		return sealed{}, errSealed
	}
	in, err := k.open(s.name(k, part)+mark, box)
	if err != nil || format(in.generation) != raw[:end] {
		return sealed{}, errSealed
	}
	return in, nil
}

// rest returns for how much longer an entry holds; 0 or less: it has ended. That is the shortest of the sealed time of expiry, the
// sealed lifetime and ttl, which is the TTL in Redis; a ttl of 0 or less is none. So neither a changed TTL nor a wrong clock
// makes an entry hold longer than it was written for.
func (s *store) rest(in sealed, ttl time.Duration) time.Duration {
	left := min(in.expiry.Sub(s.redis.Now()), in.life)
	if ttl > 0 {
		left = min(left, ttl)
	}
	return left
}

// seal encrypts s. The result opens only with this key and under this name.
func (k Key) seal(name string, s sealed) []byte {
	plain := make([]byte, 0, sealedHeader+len(s.value))
	plain = binary.BigEndian.AppendUint64(plain, uint64(s.expiry.UnixMilli()))
	plain = binary.BigEndian.AppendUint64(plain, uint64(roundUp(s.life)))
	plain = binary.BigEndian.AppendUint64(plain, s.generation)
	plain = append(plain, s.value...)
	return k.box.Seal(name, plain)
}

// open is the inverse of seal. The error is errSealed.
func (k Key) open(name string, box []byte) (sealed, error) {
	plain, err := k.box.Open(name, box)
	if err != nil || len(plain) < sealedHeader {
		return sealed{}, errSealed
	}
	return sealed{
		expiry:     time.UnixMilli(int64(binary.BigEndian.Uint64(plain))),
		life:       time.Duration(binary.BigEndian.Uint64(plain[8:])) * time.Millisecond,
		generation: binary.BigEndian.Uint64(plain[16:]),
		value:      plain[sealedHeader:],
	}, nil
}

// roundUp returns d in milliseconds, rounded up, at least 1. For Redis a TTL of 0 is an error.
func roundUp(d time.Duration) int64 {
	return max(1, int64((d+time.Millisecond-1)/time.Millisecond))
}
