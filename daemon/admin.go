package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/adminapi"
	"github.com/seed-357fa782/licensed/daemon/internal/console"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/config"
)

// adminTCPListener is the name of the admin listener that asks for tokens.
const adminTCPListener = "admin-tcp"

// listenAdmin binds the admin socket and, where it is configured, the admin
// listener for tokens.
func (d *Daemon) listenAdmin() error {
	mux := http.NewServeMux()
	api := adminapi.Register(mux, adminapi.Options{
		Authority: d.authority, Status: d.status, SelfTest: d.selfTest, Webhooks: d.webhooks, Store: wholeStore{d.store, d.now}, Version: buildinfo.Version(),
		Duration: func(s string) (time.Duration, error) {
			v, err := config.ParseDuration(s)
			return time.Duration(v), err
		},
	})
	socket, err := listenUnix(d.config.Admin.Socket)
	if err != nil {
		return err
	}
	d.serveOn(adminListener, socket, operation.Wrap(mux, d.log, nil, api.Guard(adminapi.GuardOptions{Log: d.log, Now: d.now})))
	d.servers[len(d.servers)-1].http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if p, ok := peerOf(c); ok {
			ctx = adminapi.WithPeer(ctx, p)
		}
		return ctx
	}
	if d.config.Admin.Listen == "" {
		return nil
	}
	listener, err := listenTCP("admin.listen", d.config.Admin.Listen)
	if err != nil {
		return err
	}
	if cert := d.settings.adminCert; cert != nil {
		cert.log = d.log
		c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get, NextProtos: []string{"h2", "http/1.1"}}
		if d.settings.adminClients != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, d.settings.adminClients
		}
		listener = tls.NewListener(listener, c)
	}
	guard := api.Guard(adminapi.GuardOptions{Tokens: true, Log: d.log, Now: d.now})
	tokens := operation.Wrap(mux, d.log, nil, guard)
	pages, err := d.console(mux, api, tokens)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	d.serveOn(adminTCPListener, listener, pages)
	return nil
}

// console serves the staff's pages beside the admin API, which they call for whoever
// has signed in.
func (d *Daemon) console(api *http.ServeMux, guards *adminapi.API, tokens http.Handler) (http.Handler, error) {
	zone, err := config.ParseZone(d.config.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("time_zone: %w", err)
	}
	c, err := console.New(console.Options{
		Authority: d.authority, Log: d.log, Now: d.now, Zone: zone, Secure: d.settings.adminCert != nil, Tokens: tokens,
		API: operation.Wrap(api, d.log, nil, guards.Guard(adminapi.GuardOptions{Who: console.Who, Log: d.log, Now: d.now})),
	})
	if err != nil {
		return nil, err
	}
	pages := http.NewServeMux()
	c.Register(pages)
	root := http.NewServeMux()
	root.Handle(console.Prefix, operation.Wrap(pages, d.log, nil))
	root.Handle("GET /{$}", http.RedirectHandler(console.Prefix, http.StatusSeeOther))
	root.Handle("/", tokens)
	return root, nil
}

// AdminAddr is the address of the admin listener that asks for tokens, "" where
// there is none.
func (d *Daemon) AdminAddr() string { return d.addr(adminTCPListener) }

// readCertificates reads the certificates of those who sign client certificates.
func readCertificates(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the administrator's
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}
