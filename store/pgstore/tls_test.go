package pgstore_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/certtest"
	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// certificate is one that signs itself, for a host.
func certificate(t *testing.T, host string, until time.Time) (cert, key []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(until.UnixNano()), Subject: pkix.Name{CommonName: host}, NotBefore: until.AddDate(-1, 0, 0), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	cert, key, err := certtest.SelfSigned(template)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestTLS has a server show certificates that are not what its URL wants, and then
// that one, to a store that stays open all the time.
func TestTLS(t *testing.T) {
	c := pgtest.New(t)
	port := c.Listen(t)
	schema, err := url.Parse(c.Schema(t))
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(24 * time.Hour)
	good, goodKey := certificate(t, "127.0.0.1", soon)
	wrongHost, wrongHostKey := certificate(t, "db.example.com", soon)
	expired, expiredKey := certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))
	other, otherKey := certificate(t, "127.0.0.1", soon.Add(time.Second))
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, []byte(string(good)+string(wrongHost)+string(expired)), 0o600); err != nil {
		t.Fatal(err)
	}
	q := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {roots}, "search_path": {schema.Query().Get("search_path")}}
	at := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?%s", port, q.Encode())
	refused := func(what, why string) {
		t.Helper()
		s, err := pgstore.Open(t.Context(), at, pgstore.Options{})
		if err == nil || !strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), why) {
			t.Errorf("%s: opened with %v, want an error about %q", what, err, why)
		}
		if s != nil {
			t.Error(s.Close())
		}
	}
	refused("no TLS", "TLS")
	if err := c.Certificate(good, goodKey); err != nil {
		t.Fatal(err)
	}
	s := open(t, at, pgstore.Options{})
	for _, bad := range []struct {
		name      string
		cert, key []byte
		why       string
	}{
		{"a certificate for another host", wrongHost, wrongHostKey, "127.0.0.1"},
		{"a certificate of yesterday", expired, expiredKey, "expired"},
		{"a certificate of somebody else", other, otherKey, "unknown authority"},
	} {
		if err := errors.Join(headOf(t, s), s.Update(t.Context(), issueEvent)); err != nil {
			t.Errorf("before %s: %v", bad.name, err)
		}
		hangUp := func() {
			t.Helper()
			if err := c.Do("select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'licensed'"); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Certificate(bad.cert, bad.key); err != nil {
			t.Fatal(err)
		}
		refused(bad.name, bad.why)
		hangUp()
		for what, err := range map[string]error{"View": headOf(t, s), "Update": s.Update(t.Context(), issueEvent)} {
			if !canTryAgain(err) {
				t.Errorf("%s: %s: %v", bad.name, what, err)
			}
		}
		if err := c.Certificate(good, goodKey); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(headOf(t, s), s.Update(t.Context(), issueEvent)); err != nil {
		t.Errorf("when all is well again: %v", err)
	}
}
