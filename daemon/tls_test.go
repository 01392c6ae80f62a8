package daemon_test

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/certtest"
	"github.com/seed-357fa782/licensed/license/wire"
)

// certificate makes a self-signed certificate with the given serial number.
func certificate(t *testing.T, serial int64) (cert, key string) {
	t.Helper()
	c, k, err := certtest.SelfSigned(&x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(c), string(k)
}

// A certificate is read again when its files change, and kept when they become
// unreadable. Older protocols than TLS 1.2 are refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, 1)
	yaml := strings.Replace(config, `public: {listen: "127.0.0.1:0"}`,
		`public: {listen: "127.0.0.1:0", tls: {cert_file: cert.pem, key_file: key.pem}}`, 1)
	m := start(t, yaml, map[string]string{"cert.pem": cert, "key.pem": key})
	m.down()
	var offset atomic.Int64
	o := m.options()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	d, err := daemon.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	m.d = d
	serial := func() int64 {
		c := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		rq, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+d.Addr()+wire.PathKeys, nil)
		if err != nil {
			t.Fatal(err)
		}
		rs, _ := m.send(c, rq)
		return rs.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	write := func(name, content string) {
		path := filepath.Join(m.dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		// The clock of the file system may be too coarse to tell.
		later := time.Now().Add(time.Duration(offset.Load()))
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	offset.Add(int64(time.Minute))
	write("cert.pem", "damaged")
	if n := serial(); n != 1 {
		t.Errorf("certificate %d after its file was damaged", n)
	}
	offset.Add(int64(time.Minute))
	cert, key = certificate(t, 2)
	write("cert.pem", cert)
	write("key.pem", key)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d after the files changed", n)
	}
	old := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}}
	if c, err := old.DialContext(t.Context(), "tcp", d.Addr()); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 was accepted")
	}
}
