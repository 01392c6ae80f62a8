package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// unreachable says of the licence server what a call came to, and what to do.
// The cause is for the log.
func (s *server) unreachable(r *route, what string, cause error) *license.Error {
	through := ""
	if via := r.via(); via != "" {
		through = ", called through the proxy " + via + ","
	}
	err := license.Errorf(license.Unreachable, "the licence server at %s%s %s", s.base.Host, through, what)
	if cause == nil {
		return err
	}
	return err.WithCause(&technical{cause})
}

// technical is a cause as a log takes it: in one line that is not too long.
type technical struct{ err error }

func (e *technical) Error() string {
	err := e.err
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the address is named already
	}
	return printable(err.Error())
}

func (e *technical) Unwrap() error { return e.err }

// failed is the error of a call to which nothing came back.
func (s *server) failed(r *route, err error) error {
	e := s.unreachable(r, s.whatFailed(r, err), err)
	if _, ok := errors.AsType[*caError](err); ok {
		e.Field = "ca_file"
	} else if _, ok := errors.AsType[*proxySettingError](err); ok {
		e.Field = "proxy"
	}
	return e
}

// whatFailed says why, from what is nearest to this machine to what is farthest.
func (s *server) whatFailed(r *route, err error) string {
	if what := whatSettings(err); what != "" {
		return what
	}
	if errors.Is(err, context.Canceled) {
		return "was not waited for: the call was cancelled"
	}
	if what := s.whatProxy(r, err); what != "" {
		return what
	}
	if what := whatCertificate(err); what != "" {
		return what
	}
	if what := s.whatConnection(r, err); what != "" {
		return what
	}
	if e, ok := errors.AsType[*redirectError](err); ok {
		return e.what
	}
	return "did not answer as a licence server does: " + (&technical{err}).Error() +
		"; try again later, and see that the address is right and that no firewall or proxy changes what passes"
}

// whatSettings is about what is set on this machine.
func whatSettings(err error) string {
	if e, ok := errors.AsType[*caError](err); ok {
		return "was not called: " + printable(e.Error()) + "; correct the file, or name another"
	}
	if e, ok := errors.AsType[*proxySettingError](err); ok {
		return "was not called: " + e.Error() + "; correct it, with user and password written as in a URL where the proxy wants them"
	}
	return ""
}

// whatProxy is about the proxy.
func (s *server) whatProxy(r *route, err error) string {
	if e, ok := errors.AsType[*proxyRefusal](err); ok {
		switch e.status {
		case http.StatusProxyAuthRequired:
			return whatPassword
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return fmt.Sprintf("cannot be reached: the proxy does not reach it (status %d); try again later, and see that the address is right", e.status)
		}
		return fmt.Sprintf("cannot be reached: the proxy does not allow it (status %d); ask who runs the proxy to let this machine connect to %s",
			e.status, s.address())
	}
	if r.via() == "" {
		return ""
	}
	e, ok := errors.AsType[*net.OpError](err)
	if ok && (e.Op == "proxyconnect" || e.Op == "socks connect") || errors.Is(err, context.DeadlineExceeded) && !r.connected.Load() {
		return "cannot be reached: the proxy does not answer, or does not reach it; see that the proxy runs, and that the proxy settings of this machine and of the product are right"
	}
	return ""
}

// whatPassword is what to do where a proxy wants to know who calls.
const whatPassword = "cannot be reached: the proxy wants a user name and a password; give them in HTTPS_PROXY, as http://user:password@host:port, " +
	"or let who runs the proxy pass calls to the licence server without. Other ways to log in to a proxy are not known here"

// whatCertificate is about who shows itself as the server.
func whatCertificate(err error) string {
	if _, ok := outOfTime(err); ok {
		return "shows a certificate that is not valid now; see that the clock of this machine is right. If it is, the certificate must be renewed by who runs the server"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return "shows the certificate of another host" + names(e.Certificate) +
			"; the address is wrong, or a login page or a firewall answers in its place"
	}
	e, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	if unknown {
		by := ""
		if e.Cert != nil {
			by = fmt.Sprintf(" (%s)", printable(e.Cert.Issuer.String()))
		}
		return "shows a certificate by an authority that this machine does not know" + by + "; where a firewall or a virus scanner looks into connections, " +
			"ask who runs it for the certificate of its authority, and name the file in " + CAVariable + " or Options.CAFile"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "shows a certificate that this machine does not accept: " + (&technical{err}).Error() +
			"; where a firewall or a virus scanner looks into connections, name the file of its authority in " + CAVariable + " or Options.CAFile"
	}
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	switch {
	case record, errors.Is(err, http.ErrSchemeMismatch):
		return "does not speak TLS there; the address or its port is wrong, or a login page answers in its place"
	case alert:
		return "ends the TLS handshake: " + (&technical{err}).Error() + "; see that the address is right, and that no firewall stands between"
	}
	return ""
}

// names says whose a certificate is.
func names(c *x509.Certificate) string {
	if c == nil || len(c.DNSNames) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", printable(strings.Join(c.DNSNames[:min(3, len(c.DNSNames))], ", ")))
}

// whatConnection is about the way there.
func (s *server) whatConnection(r *route, err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "cannot be found: its name is not known; see that this machine is online and that the address is right"
		}
		return "cannot be found: the name service of this machine does not answer; see that this machine is online"
	}
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), ok && timeout.Timeout():
		if r.connected.Load() {
			return "did not answer in time; try again later"
		}
		return fmt.Sprintf("cannot be connected to: nobody answered in time; see that a firewall lets this machine out to %s, or set a proxy", s.address())
	case errors.Is(err, errRefused):
		return fmt.Sprintf("cannot be connected to: nothing listens at %s; it may be down, so try again later, or the address is wrong", s.address())
	case errors.Is(err, errNoNetwork), errors.Is(err, errNoHost), errors.Is(err, errNetDown):
		return "cannot be connected to: there is no way from this machine to it; see that this machine is online"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errReset), errors.Is(err, syscall.EPIPE):
		return "broke the connection off without an answer; try again later, and see that no firewall does"
	}
	return ""
}

// address is host and port of the server, for a firewall's rule.
func (s *server) address() string {
	port := s.base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[s.base.Scheme]
	}
	return net.JoinHostPort(s.base.Hostname(), port)
}

// brokenOff is the error of an answer that began and did not end.
func (s *server) brokenOff(r *route, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return s.unreachable(r, "began to answer and did not end in time; try again later", err)
	}
	return s.unreachable(r, "broke off its answer; try again later", err)
}

// stranger is the error of an answer that no licence server gives. mediaType
// is "" where it has none.
func (s *server) stranger(r *route, resp *http.Response, mediaType string) error {
	var what string
	switch {
	case resp.StatusCode == http.StatusProxyAuthRequired:
		what = whatPassword
	case resp.StatusCode == http.StatusNetworkAuthenticationRequired:
		what = "cannot be reached: this network wants people to log in first; open a web browser, log in, and try again"
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusBadGateway,
		resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusGatewayTimeout:
		what = fmt.Sprintf("is not there just now: what stands before it answered with status %d; try again later", resp.StatusCode)
	case mediaType == "text/html":
		what = fmt.Sprintf("answered with a web page (status %d); a proxy or a login page of this network may stand between: open a web browser, log in, and try again. "+
			"Else the address is not that of a licence server", resp.StatusCode)
	default:
		if mediaType == "" {
			mediaType = "nothing that has a type"
		}
		what = fmt.Sprintf("answered with status %d and %s, as no licence server does; see that the address is right, and that no proxy changes what passes",
			resp.StatusCode, printable(mediaType))
	}
	e := s.unreachable(r, what, nil)
	e.RetryAfter = retryAfter(resp.Header)
	return e
}

// maxRetryAfter is the longest wait of a header that is passed on, in seconds: what
// stands before a server knows of hours.
const maxRetryAfter = 24 * 60 * 60

// retryAfter reads the header Retry-After (RFC 9110 section 10.2.3): seconds,
// or a date, which is compared with the date of the answer since the clock of
// this machine may be wrong.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v != "" && strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			n = maxRetryAfter
		}
		return time.Duration(min(n, maxRetryAfter)) * time.Second
	}
	then, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil || !then.After(now) {
		return 0
	}
	return min(then.Sub(now), maxRetryAfter*time.Second)
}

// refused is what a problem says.
func refused(p wire.Problem, h http.Header) error {
	p.Detail, p.Field = printable(p.Detail), printable(p.Field)
	if p.RetryAfter <= 0 {
		p.RetryAfter = int64(retryAfter(h) / time.Second)
	}
	return p.Err()
}

// redirectError says why a redirect was not followed.
type redirectError struct{ what string }

func (e *redirectError) Error() string { return e.what }

// redirected decides about following a redirect: only within the server.
func redirected(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return &redirectError{"redirects in circles; see that its address is right"}
	case req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme:
		return &redirectError{fmt.Sprintf("redirects to another host (%s), which is not followed; a login page of this network may stand between: "+
			"open a web browser, log in, and try again. Else the address is wrong", printable(req.URL.Scheme+"://"+req.URL.Host))}
	case req.Method != first.Method:
		return &redirectError{"redirects to a page; a login page of this network may stand between: open a web browser, log in, and try again. Else the address is wrong"}
	}
	return nil
}
