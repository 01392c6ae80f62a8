package sandbox

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// authority is a certificate authority for one server.
type authority struct {
	cert   *x509.Certificate
	pem    []byte
	key    koogallery.SecretKey // PEM of PKCS #8
	server tls.Certificate
	other  tls.Certificate // of an authority which nobody knows
}

const authorityName = "Sandbox marketplace CA"

// newAuthority makes an authority, or takes the one that is given.
func newAuthority(certPEM []byte, keyPEM koogallery.SecretKey, hosts []string) (*authority, error) {
	ca, key, err := readAuthority(certPEM, keyPEM)
	if len(certPEM) == 0 && keyPEM.IsZero() {
		ca, key, err = makeAuthority(authorityName)
	}
	if err != nil {
		return nil, err
	}
	server, err := serverCertificate(ca, key, hosts)
	if err != nil {
		return nil, err
	}
	strange, strangeKey, err := makeAuthority("Nobody's CA")
	if err != nil {
		return nil, err
	}
	other, err := serverCertificate(strange, strangeKey, hosts)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("sandbox authority: %w", err)
	}
	return &authority{
		cert:   ca,
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		key:    koogallery.NewSecretKey(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))),
		server: server,
		other:  other,
	}, nil
}

func makeAuthority(name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	fail := func(err error) (*x509.Certificate, *ecdsa.PrivateKey, error) {
		return nil, nil, fmt.Errorf("sandbox authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	form, err := certificateForm(name)
	if err != nil {
		return fail(err)
	}
	form.IsCA, form.BasicConstraintsValid, form.MaxPathLenZero = true, true, true
	form.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	return ca, key, nil
}

// readAuthority takes an authority which a sandbox made before, and no other: a
// sandbox has no business with a real one.
func readAuthority(certPEM []byte, keyPEM koogallery.SecretKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	fail := func(text string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
		return nil, nil, fmt.Errorf("sandbox authority: %s: %w", text, ErrInvalid)
	}
	if len(certPEM) == 0 || keyPEM.IsZero() {
		return fail("certificate and key go together, and one of them is missing")
	}
	block, rest := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return fail("want one certificate in PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fail("the certificate cannot be read")
	}
	block, rest = pem.Decode([]byte(keyPEM.Reveal()))
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return fail("want one private key of PKCS #8 in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, is := parsed.(*ecdsa.PrivateKey)
	if err != nil || !is {
		return fail("the private key cannot be read, or is no ECDSA key")
	}
	switch {
	case !ca.IsCA || ca.Subject.CommonName != authorityName || ca.CheckSignatureFrom(ca) != nil:
		return fail("the certificate is not that of an authority which a sandbox made")
	case !key.PublicKey.Equal(ca.PublicKey):
		return fail("the private key is not that of the certificate")
	}
	return ca, key, nil
}

func serverCertificate(ca *x509.Certificate, caKey *ecdsa.PrivateKey, hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sandbox certificate: %w", err)
	}
	leaf, err := certificateForm("Sandbox marketplace")
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sandbox certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// certificateForm is valid for a century whatever the clock of a test says.
func certificateForm(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("sandbox certificate: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}, nil
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}
