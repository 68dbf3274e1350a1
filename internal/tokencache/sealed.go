package tokencache

// This file seals what lies in Redis, and bounds what is believed of it when it is read.

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// What an entry is, as its text tells; the seal holds for this kind alone.
const (
	markValue     = ":"
	markTombstone = "!" // the generation alone: it was rejected
)

// sealed is the plaintext of an entry in Redis.
type sealed struct {
	expiry     time.Time     // by Redis's clock, to the millisecond
	life       time.Duration // the whole one, to the millisecond; an entry never holds for longer
	generation uint64        // of a note of failure: how many have failed in a row
	value      []byte        // of a note of failure: its class
}

const sealedHeader = 3 * 8

// maxAttempts bounds what is believed of a count of failures.
const maxAttempts = 1 << 20

// errSealed is every reason why an entry does not open; telling them apart would help nobody but an attacker.
var errSealed = errors.New("entry does not open")

// pack makes the text of an entry that ends in left: "<generation>", mark, and the base64 of the sealed rest. The generation
// in clear is for the scripts, the one inside is believed. Where in has no life, left is its life.
func (s *store) pack(k Key, part, mark string, in sealed, left time.Duration) string {
	in.expiry = s.redis.Now().Add(left)
	if in.life == 0 {
		in.life = left
	}
	return format(in.generation) + mark + base64.RawStdEncoding.EncodeToString(k.seal(s.name(k, part)+mark, in))
}

// unpack is the inverse of pack, for one kind of entry. The error is errSealed.
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

// rest is for how much longer an entry holds. Redis says ttl; 0 or less is none. That, the sealed end and the whole life can
// each only shorten it: neither a foreign hand nor a wrong clock makes it longer than it was meant.
func (s *store) rest(in sealed, ttl time.Duration) time.Duration {
	left := min(in.expiry.Sub(s.redis.Now()), in.life)
	if ttl > 0 {
		left = min(left, ttl)
	}
	return left
}

// seal encrypts s so that it opens under this key and this name only.
func (k Key) seal(name string, s sealed) []byte {
	plain := make([]byte, 0, sealedHeader+len(s.value))
	plain = binary.BigEndian.AppendUint64(plain, uint64(s.expiry.UnixMilli()))
	plain = binary.BigEndian.AppendUint64(plain, uint64(roundUp(s.life)))
	plain = binary.BigEndian.AppendUint64(plain, s.generation)
	plain = append(plain, s.value...)
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return k.aead.Seal(nonce, nonce, plain, []byte(name))
}

// open is the inverse of seal.
func (k Key) open(name string, box []byte) (sealed, error) {
	size := k.aead.NonceSize()
	if len(box) < size {
		return sealed{}, errSealed
	}
	plain, err := k.aead.Open(nil, box[:size], box[size:], []byte(name))
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

// roundUp is d in milliseconds, never 0: Redis would read that as an error, or as for ever.
func roundUp(d time.Duration) int64 {
	return max(1, int64((d+time.Millisecond-1)/time.Millisecond))
}
