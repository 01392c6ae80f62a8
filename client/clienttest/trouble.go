package clienttest

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// mode is what is wrong with a server.
type mode int

const (
	up mode = iota
	down
	hangs
	html
	impostor
)

// trouble is how a server misbehaves. Requests are those to POST /v1/requests.
type trouble struct {
	mode    mode
	refusal error // of requests
	lose    int   // how many answers to requests
}

// Down has every call break off without an answer, as where there is no server
// or no network, until Up.
func (s *Server) Down() { s.set(func(t *trouble) { t.mode = down }) }

// Hang has the server take calls and never answer, until Up: what hangs then is
// answered. A client gives up after client.Options.Timeout, of real time outside a
// bubble.
func (s *Server) Hang() { s.set(func(t *trouble) { t.mode = hangs }) }

// HTML has every call answered with a web page and status 200, as a captive portal
// or a login page does, until Up.
func (s *Server) HTML() { s.set(func(t *trouble) { t.mode = html }) }

// Impostor has another licence server answer, whose key set no anchor of the
// product vouches for, until Up. It grants what it is asked for and changes
// nothing here.
func (s *Server) Impostor() { s.set(func(t *trouble) { t.mode = impostor }) }

// Lose loses the answers to the next n requests, after the server has done what
// they ask for.
func (s *Server) Lose(n int) { s.set(func(t *trouble) { t.lose = n }) }

// Refuse has every request refused, and nothing done, until Up. err is a
// license.Reason or a *license.Error, such as license.ReadOnly.
func (s *Server) Refuse(err error) { s.set(func(t *trouble) { t.refusal = err }) }

// RetryAfter has every request refused with license.RateLimited and told when to
// try again, until Up.
func (s *Server) RetryAfter(d time.Duration) {
	s.Refuse(license.Errorf(license.RateLimited, "too many requests; please wait").WithRetryAfter(d))
}

// Up ends whatever Down, Hang, HTML, Impostor, Lose and Refuse began.
func (s *Server) Up() { s.set(func(t *trouble) { *t = trouble{} }) }

func (s *Server) set(edit func(*trouble)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(&s.trouble)
	close(s.changed)
	s.changed = make(chan struct{})
}
