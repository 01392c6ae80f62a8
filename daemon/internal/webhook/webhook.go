// Package webhook tells the merchant's other systems what the audit log records:
// each entry that is an event becomes a POST request in the form of the Standard
// Webhooks specification 1.0.0, at least once, and in order for each licence.
//
// The audit log is the queue. It is written in the transaction of the change
// itself, so nothing is told that did not happen and nothing that happened is
// forgotten. Of an endpoint only a position in the log is kept, and the few events
// before it that could not be delivered yet (authority.WebhookState).
package webhook

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// Endpoint is an address that is told about events.
type Endpoint struct {
	Name string // by which its position is kept
	URL  string
	// Secrets are what requests are signed with, all of them, at the time.
	Secrets func() []Secret
	// Events are types, or groups of them as license.*; none: all but the chatty.
	Events []string
	// Products restricts events that are about a licence; none: all.
	Products []string
	Include  []string       // what else is told, of Includes
	Roots    *x509.CertPool // nil: those of the system
}

// Options configure a Sender. Authority, Issuer, Log and Now are required.
type Options struct {
	Authority *authority.Authority
	Endpoints []Endpoint
	Issuer    string // of the licences; event ids follow from it
	Version   string
	Log       *slog.Logger
	Now       func() time.Time
	// Transport is how endpoints are reached, for tests; nil means by the network.
	Transport http.RoundTripper
	// Owner is this process among those that share a store; "" draws one.
	Owner string
}

// Sender tells endpoints what happens.
type Sender struct {
	o         Options
	endpoints []*endpoint
	begun     time.Time
}

// New checks the options and returns a Sender.
func New(o Options) (*Sender, error) {
	if o.Authority == nil || o.Log == nil || o.Now == nil || o.Issuer == "" {
		return nil, errors.New("webhook: authority, issuer, log and now are required")
	}
	if o.Owner == "" {
		o.Owner = rand.Text()
	}
	s := &Sender{o: o, begun: time.Now()} //nolint:forbidigo // what uptime counts from
	for _, configured := range o.Endpoints {
		if err := CheckEvents(configured.Events); err != nil {
			return nil, fmt.Errorf("webhook %s: %w", configured.Name, err)
		}
		if s.endpoint(configured.Name) != nil {
			return nil, fmt.Errorf("webhook %s is configured twice", configured.Name)
		}
		transport := o.Transport
		if transport == nil {
			transport = newTransport(configured.Roots)
		}
		s.endpoints = append(s.endpoints, &endpoint{
			Endpoint: configured, sender: s, client: newClient(transport),
			wake: make(chan struct{}, 1), results: make(chan result, atOnce),
		})
	}
	return s, nil
}

func (s *Sender) endpoint(name string) *endpoint {
	i := slices.IndexFunc(s.endpoints, func(e *endpoint) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return s.endpoints[i]
}

func (s *Sender) now() time.Time { return s.o.Now() }

// uptime is how long the Sender is there, by the clock that nobody sets.
func (s *Sender) uptime() time.Duration { return time.Since(s.begun) } //nolint:forbidigo // it is no date

// Begin notes for endpoints that are new from where on they are told what happens.
// Called before anything can happen, nothing is missed; Run does it too.
func (s *Sender) Begin(ctx context.Context) error {
	var errs []error
	for _, e := range s.endpoints {
		if _, err := e.stored(ctx); err != nil && !errors.Is(err, license.Conflict) { // another daemon begins it
			errs = append(errs, fmt.Errorf("webhook %s: %w", e.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Run tells the endpoints what happens until ctx ends. What is under way then is
// waited for, for a moment; what is not answered by then is sent again by who
// comes next.
func (s *Sender) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, e := range s.endpoints {
		running.Go(func() { e.run(ctx) })
		defer e.client.CloseIdleConnections()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.o.Authority.Appended():
			for _, e := range s.endpoints {
				select {
				case e.wake <- struct{}{}:
				default:
				}
			}
		}
	}
}

// system is who acts where nobody does.
func system() license.Actor { return license.Actor{Kind: license.ActorSystem, Name: "webhooks"} }
