package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

// Certificate is a self-signed certificate and its key, in PEM. Clients trust it by using Cert as a root.
type Certificate struct{ Cert, Key []byte }

// SelfSigned returns a certificate that is valid from begins to ends, both relative to now. hosts are names and addresses, at
// least one. The first is also the common name.
func SelfSigned(begins, ends time.Duration, hosts ...string) (Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, fmt.Errorf("sandbox: certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{ // without SerialNumber: CreateCertificate chooses one
		Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: now.Add(begins), NotAfter: now.Add(ends),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Certificate{}, fmt.Errorf("sandbox: certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Certificate{}, fmt.Errorf("sandbox: certificate: %w", err)
	}
	return Certificate{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}
