package operation

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

type contextKey struct{}

// request is what is known about a request while it is handled.
type request struct {
	id   string
	addr string
	log  *slog.Logger
	err  error // why it was refused
}

func from(ctx context.Context) *request {
	rq, _ := ctx.Value(contextKey{}).(*request)
	return rq
}

// RequestID names the request of ctx in the log and in problems.
func RequestID(ctx context.Context) string {
	if rq := from(ctx); rq != nil {
		return rq.id
	}
	return ""
}

// ClientAddr is the address that the request of ctx came from: that of the
// peer, or what a trusted proxy says. It is "local" on a unix socket.
func ClientAddr(ctx context.Context) string {
	if rq := from(ctx); rq != nil {
		return rq.addr
	}
	return ""
}

// Refusal is why the request of ctx was refused, nil while it was not.
func Refusal(ctx context.Context) error {
	if rq := from(ctx); rq != nil {
		return rq.err
	}
	return nil
}

// Guard answers a request itself or lets next do it, which serves the route with
// the given pattern.
type Guard func(w http.ResponseWriter, r *http.Request, pattern string, next http.Handler)

// Proxies are the networks whose X-Forwarded-For is believed.
type Proxies []netip.Prefix

// Wrap is the outermost handler of a listener: it gives each request an id,
// answers what mux does not route with a problem, and survives a panic. Where
// there is a guard every route is behind it.
func Wrap(mux *http.ServeMux, log *slog.Logger, trusted Proxies, guard ...Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := &request{id: newID(), addr: trusted.clientAddr(r), log: log}
		r = r.WithContext(context.WithValue(r.Context(), contextKey{}, rq))
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Request-Id", rq.id)
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			log.Error("a handler panicked", "request_id", rq.id, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			WriteProblem(w, r, errors.New("panic"))
		}()
		next, pattern := mux.Handler(r)
		switch {
		case pattern == "":
			unrouted(next, w, r)
			return
		case strings.Contains(pattern, "{"):
			next = mux // it sets the values of the path
		default: // routed once is enough
			r.Pattern = pattern
		}
		for _, g := range guard {
			g(w, r, pattern, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unrouted answers what no route fits in our own form: fallback is what the
// router would say.
func unrouted(fallback http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := &recorder{header: http.Header{}, status: http.StatusNotFound}
	fallback.ServeHTTP(rec, r)
	p := wire.NewProblem(license.Errorf(license.NotFound, "there is nothing at this address"), RequestID(r.Context()))
	if rec.status == http.StatusMethodNotAllowed {
		allow := rec.header.Get("Allow")
		w.Header().Set("Allow", allow)
		p = wire.NewProblem(license.Errorf(license.BadRequest, "this address takes %s only", allow), p.RequestID)
		p.Status = http.StatusMethodNotAllowed
	}
	writeProblem(w, p)
}

// recorder takes a status and headers and drops the body.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// WriteProblem answers a plain handler's request with err.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	note(r.Context(), err)
	writeProblem(w, wire.NewProblem(err, RequestID(r.Context())))
}

func writeProblem(w http.ResponseWriter, p wire.Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", wire.TypeProblem)
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = bytes.NewReader(append(body, '\n')).WriteTo(w) // the client may be gone
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// clientAddr is the peer's address, or the nearest untrusted one that trusted
// proxies name.
func (ps Proxies) clientAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "local"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && ps.trust(addr); i-- {
		next, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next
	}
	return addr.Unmap().String()
}

// parseHop reads an address as proxies write it, with or without a port.
func parseHop(s string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), nil
	}
	return netip.ParseAddr(strings.Trim(s, "[]"))
}

func (ps Proxies) trust(a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}
