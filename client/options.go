package client

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Defaults of Options.
const (
	DefaultStateDir = "licensed-client"
	DefaultTimeout  = 30 * time.Second
)

// stateFile is the name of an install's memory in its folder.
const stateFile = "install.json"

// Options say how Open sets up a Guard. Anchors and Product are required for
// everything but making a request file.
type Options struct {
	// Anchors, Product, Issuer and Keys are those of a Verifier.
	Anchors token.Anchors
	Product string
	Issuer  string
	Keys    string

	// Server is the licence server's address, such as https://licence.example.com.
	// "" means that there is no network: Request and Import carry files. Plain http
	// is accepted on the loopback interface only, unless AllowPlain.
	Server     string
	AllowPlain bool

	// StateDir is the folder of the install's memory, which belongs to one copy of
	// the product on one machine and to one user; "" is DefaultStateDir below the
	// working folder. One that follows its user from machine to machine, as a home
	// on a network does, would hold the licence of one machine at a time. Cache
	// replaces it.
	StateDir string
	Cache    Cache

	// Manual leaves everything to the product: nothing is called or done in the
	// background, and there are no Events. For tools and tests.
	Manual bool

	// Code is an authorization code that this copy is configured with, such as in a
	// container or on a server: where it holds no licence, the guard activates with
	// it by itself, unless the licence was given up by Deactivate. It counts before
	// the code of a floating seat that Close gave back.
	Code string

	// KeepSeat says that Close does not give a floating seat back: it stays with this
	// copy until its lease ends.
	KeepSeat bool

	// Instance is what this copy of the product is called among those that share the
	// floating seats of a licence, such as the name of a pod, and stays the same when
	// it is started anew without its memory: then it takes the seat that it had on
	// this machine over at once. At most 128 bytes; "" names none. Two copies that
	// run at the same time must not share a name: each would end the other.
	Instance string

	// Fingerprint collects what the machine shows; nil is fingerprint.Collect. It is
	// called by one goroutine at a time, also in the background.
	Fingerprint func(context.Context) (fingerprint.Set, error)

	// Proxy returns the proxy for a call, nil where it goes directly. nil is the proxy
	// that the environment names (HTTPS_PROXY, NO_PROXY), else the one that Windows or
	// macOS is set to, looked up with each call (docs/network.md). A server on the
	// loopback interface that is called by plain http is called directly. A call whose
	// proxy fails fails; it does not go around it.
	Proxy func(*http.Request) (*url.URL, error)
	// CAFile is a file of certificate authorities, in PEM form, that the server's
	// certificate may be by besides those that the system knows, such as that of a
	// firewall which looks into connections. It is read with each call; where that is
	// not possible, the call is Unreachable, field "ca_file". "" is the file that the
	// environment variable LICENSED_CA_FILE names, if it does.
	CAFile string
	// HTTPClient is used for calls, with redirects to other hosts refused. nil is
	// one with Proxy, CAFile and TLS 1.2 or later, which makes a connection for each call
	// and reaches the server under a wrong clock as well; another one judges
	// certificates by the machine's clock, and excludes Proxy and CAFile.
	HTTPClient *http.Client
	// Timeout limits one call to the server; 0 is DefaultTimeout.
	Timeout time.Duration

	// BuildTime is when the product was built: it cannot be earlier than that, so a
	// clock that shows less is not believed from the first start on. Zero, the
	// default, says nothing; nothing is guessed from the build. Best is the date of
	// the release, compiled in, such as by -ldflags -X and time.Parse; a date in the
	// future makes licences end early until the server has answered.
	BuildTime time.Time

	// Now tells the time of the machine's clock; nil is time.Now. It is called by any
	// number of goroutines at once.
	Now func() time.Time

	random func() float64 // below 1, for when calls are made
}

// withDefaults fills in what was left open, and says what cannot be used.
func (o Options) withDefaults() (Options, error) {
	if o.Product == "" {
		return o, license.FieldErrorf("product", "no product is set")
	}
	if len(o.Anchors) > 0 {
		if err := validateTrust(o.Anchors, o.Product); err != nil {
			return o, err
		}
		o.Anchors = cloneAnchors(o.Anchors)
	}
	if o.HTTPClient != nil && o.Proxy != nil {
		return o, license.FieldErrorf("proxy", "the HTTP client of the options goes its own way; set the proxy there")
	}
	if o.HTTPClient != nil && o.CAFile != "" {
		return o, license.FieldErrorf("ca_file", "the HTTP client of the options trusts whom it trusts; set the authorities there")
	}
	if o.Timeout < 0 {
		return o, license.FieldErrorf("timeout", "the timeout is negative")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if !o.BuildTime.IsZero() && (o.BuildTime.Unix() < 0 || !o.BuildTime.Before(license.Forever)) {
		return o, license.FieldErrorf("build_time", "the time of the build is before 1970 or after 9999")
	}
	if len(o.Instance) > 128 || !utf8.ValidString(o.Instance) || strings.ContainsFunc(o.Instance, unicode.IsControl) {
		return o, license.FieldErrorf("instance", "the name of the instance is longer than 128 bytes, or is no plain text")
	}
	if o.Code != "" {
		if _, err := license.ParseCode(o.Code); err != nil {
			return o, err
		}
	}
	if o.random == nil {
		o.random = random
	}
	if o.Cache == nil {
		dir := o.StateDir
		if dir == "" {
			dir = DefaultStateDir
		}
		o.Cache = NewFileCache(filepath.Join(dir, stateFile))
	}
	if o.Fingerprint == nil {
		o.Fingerprint = fingerprint.Collect
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default of Now
	}
	// What was read off the monotonic clock beside it would hide that the clock was
	// set, or that the machine slept.
	now := o.Now
	o.Now = func() time.Time { return now().Round(0) }
	return o, nil
}

// endpoint checks the server's address.
func endpoint(server string, allowPlain bool) (*url.URL, error) {
	bad := func(what string) (*url.URL, error) {
		return nil, license.FieldErrorf("server", "the address of the licence server %s", what)
	}
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return bad("is not one like https://licence.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return bad("holds more than scheme, host and path")
	case u.Scheme == "https":
	case u.Scheme != "http":
		return bad("does not begin with https://")
	case !allowPlain && !loopback(u.Hostname()):
		return bad("is plain http beyond this machine; use https")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
