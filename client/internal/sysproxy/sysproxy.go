// Package sysproxy says through which proxy a request leaves the machine: the
// one that the environment names, else the one that the system is set to. It
// looks each time that it is asked, since a laptop changes networks, and
// remembers nothing.
//
// Understanding settings is kept apart from reading them, so that every system
// can do it. What needs a program to decide, a proxy script (PAC) or its
// discovery (WPAD), counts as no proxy.
package sysproxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Settings say which proxy is used for what. The zero value is none.
type Settings struct {
	// HTTP and HTTPS are the addresses of the proxies for requests of that scheme, as
	// they were written; "" is none.
	HTTP, HTTPS string
	// Bypass are the hosts that are called directly.
	Bypass Bypass
	// Source is where the settings stand, for people.
	Source string
}

// Of returns the proxy for a request, nil where it goes directly. Hosts on the
// loopback interface always do. The error is an *Error.
func Of(req *http.Request) (*url.URL, error) {
	return Choose(req.URL, Environment(os.Getenv), system)
}

// Choose returns the proxy for an address. NO_PROXY of the environment counts
// for the system's proxy as well; the system is asked only where the environment
// leaves it open.
func Choose(u *url.URL, environment Settings, system func() Settings) (*url.URL, error) {
	host := canonical(u.Hostname())
	if host == "" || loopback(host) || environment.Bypass.has(u) {
		return nil, nil //nolint:nilnil // as http.Transport.Proxy wants it
	}
	s := environment
	if s.of(u.Scheme) == "" {
		if s = system(); s.of(u.Scheme) == "" || s.Bypass.has(u) {
			return nil, nil //nolint:nilnil // as above
		}
	}
	proxy, ok := address(s.of(u.Scheme))
	if !ok {
		return nil, &Error{Source: s.Source, Scheme: u.Scheme}
	}
	return proxy, nil
}

func (s Settings) of(scheme string) string {
	switch scheme {
	case "http":
		return s.HTTP
	case "https":
		return s.HTTPS
	}
	return ""
}

// Error says that a setting is not the address of a proxy. It does not show
// the setting, which may hold a password.
type Error struct{ Source, Scheme string }

func (e *Error) Error() string {
	return "the proxy for " + e.Scheme + " in " + e.Source + " is not an address like http://proxy.example.com:3128"
}

// Environment reads HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in upper or lower
// case. HTTP_PROXY in upper case is not believed where a web server runs this
// program (CGI): there a visitor can set it.
func Environment(getenv func(string) string) Settings {
	first := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(getenv(name)); v != "" {
				return v
			}
		}
		return ""
	}
	s := Settings{HTTPS: first("HTTPS_PROXY", "https_proxy"), Source: "the environment"}
	if getenv("REQUEST_METHOD") == "" {
		s.HTTP = first("HTTP_PROXY", "http_proxy")
	} else {
		s.HTTP = first("http_proxy")
	}
	s.Bypass = bypass(strings.Split(first("NO_PROXY", "no_proxy"), ","), true)
	return s
}

// maxAddress is the longest address of a proxy, in bytes.
const maxAddress = 2048

// address reads the address of a proxy. One without a scheme speaks HTTP.
func address(s string) (*url.URL, bool) {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || len(s) > maxAddress || u.Hostname() == "" {
		return nil, false
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
	default:
		return nil, false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, false
		}
	}
	return &url.URL{Scheme: u.Scheme, User: u.User, Host: strings.TrimSuffix(u.Host, ":")}, true
}

// canonical is a host's name as names are compared: in lower case, without the
// dot at its end, and of an address without its zone.
func canonical(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
