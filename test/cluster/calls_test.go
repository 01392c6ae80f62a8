package cluster_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

func sandboxKey() koogallery.AccessKey { return koogallery.NewAccessKey(accessKey) }

// patience is for how long a caller repeats one call.
const patience = 2 * time.Minute

// repeat makes a call again and again, until it is answered with something that
// another try does not change in time.
func repeat(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the patience of a caller is at its end"))
	defer cancel()
	for {
		err := call(ctx)
		if err == nil || !another(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// another reports whether a call may be answered differently the next time: there
// was no answer, or one that says so.
func another(err error) bool {
	var ours *license.Error
	if !errors.As(err, &ours) {
		return true
	}
	switch ours.Reason { //nolint:exhaustive // the others say by themselves when it may
	case license.ReadOnly, license.Internal, license.MarketplaceUnavailable:
		return true
	}
	return ours.RetryAfter > 0 && ours.RetryAfter < patience // the next time that a machine may have another copy is a day away
}

// call sends JSON and returns the reason of a problem as an error.
func call(ctx context.Context, c *http.Client, method, url, key string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	rq, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	rq.Header.Set("Content-Type", wire.TypeJSON)
	if key != "" {
		rq.Header.Set(adminwire.HeaderKey, key)
	}
	rs, err := c.Do(rq)
	if err != nil {
		return err
	}
	defer rs.Body.Close()
	data, err := io.ReadAll(rs.Body)
	if err != nil {
		return err
	}
	if rs.StatusCode >= http.StatusBadRequest {
		var pr wire.Problem
		if err := json.Unmarshal(data, &pr); err != nil {
			return fmt.Errorf("HTTP %d: %s", rs.StatusCode, data)
		}
		return pr.Err()
	}
	return json.Unmarshal(data, out)
}

// manage makes a change over the admin API, once, at whichever daemon answers.
func (m *merchant) manage(ctx context.Context, method, path, key string, in, out any) error {
	return repeat(ctx, func(ctx context.Context) error {
		c := m.admin()
		return call(ctx, c, method, "http://admin"+path, key, in, out)
	})
}

// send sends a signed request through the load balancer until it is answered.
func (m *merchant) send(ctx context.Context, raw string) (out wire.Answer, err error) {
	err = repeat(ctx, func(ctx context.Context) error {
		out = wire.Answer{}
		return call(ctx, m.client, http.MethodPost, m.balance.URL+wire.PathRequests, "", wire.Request{Request: raw}, &out)
	})
	return out, err
}

// install is an installed copy, and what it has.
type install struct {
	key   token.SigningKey
	fp    license.Fingerprint
	held  string // the licence
	last  string // the request that it was answered to
	ended bool
}

func newInstall(machine string) (*install, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := token.NewSigningKey(private)
	fp := license.Fingerprint{Salt: license.ProductSalt("cad"), Components: license.Components{}}
	for _, kind := range []license.Kind{license.KindDisk, license.KindMAC, license.KindOS} {
		d, ok := license.DigestValue(fp.Salt, kind, machine)
		if !ok {
			return nil, fmt.Errorf("%q has no digest", machine)
		}
		fp.Components[kind] = []license.Digest{d}
	}
	return &install{key: key, fp: fp}, err
}

func (i *install) activation(code string) (string, error) {
	c, err := license.ParseCode(code)
	if err != nil {
		return "", err
	}
	return token.SignRequest(token.Request{
		ID: rand.Text(), IssuedAt: time.Now(), Op: token.OpActivate, Product: "cad", Fingerprint: i.fp, Code: c,
	}, i.key)
}

// request is a request by the install that holds a licence.
func (i *install) request(op token.Op) (string, error) {
	l, err := token.PeekLicense(i.held)
	if err != nil {
		return "", err
	}
	return token.SignRequest(token.Request{
		ID: rand.Text(), IssuedAt: time.Now(), Op: op, Product: "cad", Prev: l.ID, Fingerprint: i.fp, License: i.held,
	}, i.key)
}
