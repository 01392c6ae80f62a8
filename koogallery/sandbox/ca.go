package sandbox

import (
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
)

// authority is a certificate authority for one server. Its key is forgotten
// once the server's certificate is signed.
type authority struct {
	cert   *x509.Certificate
	pem    []byte
	server tls.Certificate
	other  tls.Certificate // of an authority which nobody knows
}

func newAuthority(hosts []string) (*authority, error) {
	ca, der, server, err := issue("Sandbox marketplace CA", hosts)
	if err != nil {
		return nil, err
	}
	_, _, other, err := issue("Nobody's CA", hosts)
	if err != nil {
		return nil, err
	}
	return &authority{
		cert:   ca,
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		server: server,
		other:  other,
	}, nil
}

// issue makes an authority and lets it vouch for the hosts.
func issue(name string, hosts []string) (*x509.Certificate, []byte, tls.Certificate, error) {
	fail := func(err error) (*x509.Certificate, []byte, tls.Certificate, error) {
		return nil, nil, tls.Certificate{}, fmt.Errorf("sandbox authority: %w", err)
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
	server, err := serverCertificate(ca, key, hosts)
	if err != nil {
		return fail(err)
	}
	return ca, der, server, nil
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

// certificateForm is valid for a century whatever the clock of a test says; the key
// does not outlive the process.
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
