package proxy

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeRSAPair writes a certificate with an RSA key, under the names that overTLS reads.
func writeRSAPair(t *testing.T, folder string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := x509.MarshalPKCS1PrivateKey(key)
	writeFile(t, filepath.Join(folder, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	writeFile(t, filepath.Join(folder, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: text}))
}

func TestTLS12IsSpokenWithForwardSecretAEADSuitesAlone(t *testing.T) {
	for kind, write := range map[string]func(folder string){
		"ECDSA": func(folder string) { newPair(t, "first").write(t, folder) },
		"RSA":   func(folder string) { writeRSAPair(t, folder) },
	} {
		folder := t.TempDir()
		write(folder)
		addr, _ := overTLS(t, start(t), folder)
		var spoken []string
		for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
				continue
			}
			conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
			if err != nil {
				continue
			}
			conn.Close()
			spoken = append(spoken, suite.Name)
		}
		slices.Sort(spoken)
		want := []string{"AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"}
		for i := range want {
			want[i] = "TLS_ECDHE_" + kind + "_WITH_" + want[i]
		}
		if !slices.Equal(spoken, want) {
			t.Errorf("with a key of %s, the gateway accepts\n%s\nwant\n%s", kind, strings.Join(spoken, "\n"), strings.Join(want, "\n"))
		}
	}
}
