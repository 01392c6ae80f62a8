package client_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// certified puts the server of a field behind TLS, with a certificate that is
// valid for so long, and lets the install call it by a transport of its own.
func certified(t *testing.T, f *field, from, until time.Time) (open func() *client.Guard) {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: epoch.Add(-4000 * day), NotAfter: epoch.Add(4000 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	pair := func(c, by *x509.Certificate, public any) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, by, public, key("ca"))
		check(t, err)
		return der
	}
	root, err := x509.ParseCertificate(pair(ca, ca, public("ca")))
	check(t, err)
	_, private, err := ed25519.GenerateKey(nil)
	check(t, err)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := f.vendor.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{pair(leaf, root, private.Public())}, PrivateKey: private}},
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	f.opts.HTTPClient, f.opts.Server = nil, srv.URL
	return func() *client.Guard {
		t.Helper()
		g := f.open()
		g.TrustCA(pool)
		return g
	}
}

// A wrong clock is no reason not to reach the server, which would set it right:
// a certificate counts that is valid at any time that it may be.
func TestCertificatesUnderAWrongClock(t *testing.T) {
	for name, c := range map[string]struct {
		from, until time.Duration // of the certificate, from when the licence was granted on
		off         time.Duration // for how long the machine was off since
		shown       time.Duration // what its clock shows then, from the same instant on
		server      time.Duration // how far the server's clock was ahead before
	}{
		"right":                              {-10 * day, 80 * day, day, day, 0},
		"years ahead":                        {-10 * day, 80 * day, day, 5 * 365 * day, 0},
		"days ahead, shortly before its end": {-80 * day, 5 * day, day, 20 * day, 0},
		"behind, and renewed meanwhile":      {10 * day, 100 * day, 20 * day, -20000 * day, 0},
		"set back a little, renewed since":   {10 * day, 100 * day, 20 * day, day, 0},
		"right, the server was weeks ahead":  {-80 * day, 10 * day, day, day, 40 * day},
		"days ahead, an hour after its end":  {-80 * day, 10 * day, day, 10*day + time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t)
			f.server = c.server
			check(t, f.activated().Close())
			f.server = 0
			f.off(c.off)
			f.set(epoch.Add(c.shown))
			g := certified(t, f, epoch.Add(c.from), epoch.Add(c.until))()
			check(t, g.Refresh(t.Context()))
			wantLicensed(t, g)
			check(t, g.Close())
		})
	}
}

// What is certainly past its end is refused, and the message says to look at
// the clock. Where nothing is proven yet the clock is all there is.
func TestCertificatesThatHaveEnded(t *testing.T) {
	refused := func(t *testing.T, err error) {
		t.Helper()
		wantReason(t, err, license.Unreachable)
		if !strings.Contains(err.Error(), "clock of this machine") {
			t.Errorf("it does not say to look at the clock: %v", err)
		}
	}
	f := newField(t)
	check(t, f.activated().Close())
	open := certified(t, f, epoch.Add(-80*day), epoch.Add(-time.Hour))
	g := open()
	refused(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	f.set(epoch.Add(-2 * time.Hour)) // what it shows is within: it may be wrong, or what is proven
	check(t, g.Refresh(t.Context()))

	f = newField(t)
	f.opts.BuildTime = epoch.Add(-30 * day)
	g = certified(t, f, epoch.Add(-80*day), epoch.Add(10*day))()
	f.set(epoch.Add(365 * day))
	refused(t, g.Activate(t.Context(), code))
	if len(f.vendor.seen()) != 0 {
		t.Error("the code was sent")
	}
	f.set(time.Unix(0, 0)) // no certificate is made before its time
	check(t, g.Activate(t.Context(), code))
}
