package cluster_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/test/internal/program"
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

// manage makes a change over the admin API, once, at whichever daemon answers.
func (m *merchant) manage(ctx context.Context, method, path, key string, in, out any) error {
	return repeat(ctx, func(ctx context.Context) error {
		return program.Call(ctx, m.admin(), method, "http://admin"+path, key, in, out)
	})
}

// send sends a signed request through the load balancer until it is answered.
func (m *merchant) send(ctx context.Context, raw string) (out wire.Answer, err error) {
	err = repeat(ctx, func(ctx context.Context) error {
		out = wire.Answer{}
		return program.Call(ctx, m.client, http.MethodPost, m.balance.URL+wire.PathRequests, "", wire.Request{Request: raw}, &out)
	})
	return out, err
}

// install is an installed copy, and what it has.
type install struct {
	program.Install
	held  string // the licence
	last  string // the request that it was answered to
	ended bool
}

func newInstall(machine string) (*install, error) {
	i, err := program.NewInstall("cad", machine)
	return &install{Install: i}, err
}

// request is a request by the install that holds a licence.
func (i *install) request(op token.Op) (string, error) {
	l, err := token.PeekLicense(i.held)
	if err != nil {
		return "", err
	}
	return token.SignRequest(token.Request{
		ID: rand.Text(), IssuedAt: time.Now(), Op: op, Product: i.Product, Prev: l.ID, Fingerprint: i.Fingerprint, License: i.held,
	}, i.Key)
}
