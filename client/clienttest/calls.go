package clienttest

import (
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Call is a call that reached the server.
type Call struct {
	At           time.Time // by the server's clock, when it came in
	Method, Path string
	// Request is what was asked for, zero where that was not a request, or one that
	// could not be read.
	Request token.Request
	// Status is the HTTP status of the answer, 0 where there is none yet or was none,
	// and Reason that of a refusal.
	Status int
	Reason license.Reason
	// Lost: the server did what it was asked for, and the answer was lost.
	Lost bool
}

// Calls are those that reached the server since it was started, or since Forget,
// in their order. Also to a server that is down, which a real one would not know of.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		out = append(out, *c)
	}
	return out
}

// Requests are those of Calls that asked for op, or all requests where op is "".
func (s *Server) Requests(op token.Op) []Call {
	return slices.DeleteFunc(s.Calls(), func(c Call) bool { return c.Request.Op == "" || op != "" && c.Request.Op != op })
}

// Forget begins Calls anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}
