package adminclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// condition is under what condition a change is to be made.
type condition struct {
	key      string
	revision int64
	dryRun   bool
}

type conditionContext struct{}

func with(ctx context.Context, set func(*condition)) context.Context {
	c, _ := ctx.Value(conditionContext{}).(condition)
	set(&c)
	return context.WithValue(ctx, conditionContext{}, c)
}

// WithIdempotencyKey has the change that is made with ctx be made once: the same
// key with the same call gets the same answer, also after a lost connection. A key
// is for one call, of 1 to 128 printable ASCII characters.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return with(ctx, func(c *condition) { c.key = key })
}

// WithRevision has the change of a licence that is made with ctx be refused as
// license.Conflict where the licence has another revision by then.
func WithRevision(ctx context.Context, revision int64) context.Context {
	return with(ctx, func(c *condition) { c.revision = revision })
}

// WithDryRun has a change that is made with ctx be checked and decided, and not made.
func WithDryRun(ctx context.Context) context.Context {
	return with(ctx, func(c *condition) { c.dryRun = true })
}

func (c *Client) tries(ctx context.Context) bool {
	of, _ := ctx.Value(conditionContext{}).(condition)
	return c.dryRun || of.dryRun
}

func conditions(ctx context.Context, h http.Header) {
	c, _ := ctx.Value(conditionContext{}).(condition)
	if c.key != "" {
		h.Set(adminwire.HeaderKey, c.key)
	}
	if c.revision != 0 {
		h.Set("If-Match", strconv.Quote(strconv.FormatInt(c.revision, 10)))
	}
}

// tls reads the files that TLS is to be used with; nil for none.
func (o Options) tls() (*tls.Config, error) {
	if o.CAFile == "" && o.CertFile == "" && o.KeyFile == "" {
		return nil, nil //nolint:nilnil // the transport's own defaults
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		data, err := readPublic("ca-file", o.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, license.FieldErrorf("ca-file", "%s holds no PEM certificate", o.CAFile)
		}
	}
	if o.CertFile == "" && o.KeyFile == "" {
		return c, nil
	}
	if o.CertFile == "" || o.KeyFile == "" {
		return nil, license.FieldErrorf("cert-file", "a client certificate and its key belong together")
	}
	cert, err := readPublic("cert-file", o.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := readPrivate(o.KeyFile, func(what string) *license.Error {
		return license.FieldErrorf("key-file", "key file %s %s", o.KeyFile, what)
	})
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, license.FieldErrorf("cert-file", "%s and %s are no certificate with its key", o.CertFile, o.KeyFile).WithCause(err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func readPublic(field, path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, license.FieldErrorf(field, "%s does not exist", path)
	}
	if err != nil {
		return nil, license.FieldErrorf(field, "%s cannot be read", path).WithCause(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxPrivate))
	if err != nil {
		return nil, license.FieldErrorf(field, "%s cannot be read", path).WithCause(err)
	}
	return data, nil
}
