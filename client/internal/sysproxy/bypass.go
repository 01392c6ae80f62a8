package sysproxy

import (
	"net/netip"
	"net/url"
	"strings"
)

// Bypass are the hosts that are called without a proxy.
type Bypass []rule

// rule is one entry. A host fits it where it fits any of what is set, and the port.
type rule struct {
	simple  bool         // names without a dot
	prefix  netip.Prefix // addresses
	pattern string       // a name, in which "*" stands for any text
	under   string       // the names below a domain, with the dot that it begins with
	port    string       // "" is any
	scheme  string       // "" is any
}

// bypass reads entries of all forms that are in use: names, patterns such as
// *.example.com and 192.168.*, domains with a dot before, addresses, networks
// (169.254/16 too), <local> for names without a dot; each with a port or a
// scheme where wanted. What is none of them fits nothing. below says that a name
// takes in those below it, as in the environment.
func bypass(entries []string, below bool) Bypass {
	var all Bypass
	for _, e := range entries {
		if r, ok := entry(strings.ToLower(strings.TrimSpace(e)), below); ok {
			all = append(all, r)
		}
	}
	return all
}

func entry(s string, below bool) (r rule, ok bool) {
	if scheme, rest, found := strings.Cut(s, "://"); found {
		r.scheme, s = scheme, rest
	}
	if r.prefix, ok = network(s); ok {
		return r, true
	}
	s, r.port = cutPort(s)
	if r.prefix, ok = network(s); ok {
		return r, true
	}
	if s != "*." {
		s = strings.TrimSuffix(s, ".")
	}
	name, domain := strings.CutPrefix(strings.TrimPrefix(s, "*"), ".")
	switch {
	case s == "" || domain && name == "":
		return r, false
	case s == "<local>":
		r.simple = true
	case domain && !strings.Contains(name, "*"):
		r.under = "." + name
	default:
		r.pattern = s
		if below && !strings.Contains(s, "*") {
			r.under = "." + s
		}
	}
	return r, true
}

// cutPort takes the port off an entry, and the brackets off an address.
func cutPort(s string) (host, port string) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && i+1 < len(s) && strings.Trim(s[i+1:], "0123456789") == "" {
		s, port = s[:i], s[i+1:]
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	return s, port
}

// network reads an address, or a network in the form of a CIDR, whose last
// zeros may be left out.
func network(s string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		ip = ip.Unmap().WithZone("")
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	ip, bits, ok := strings.Cut(s, "/")
	if !ok {
		return netip.Prefix{}, false
	}
	if dots := strings.Count(ip, "."); dots < 3 && !strings.Contains(ip, ":") {
		ip += strings.Repeat(".0", 3-dots)
	}
	p, err := netip.ParsePrefix(ip + "/" + bits)
	return p.Masked(), err == nil
}

// has reports whether an address is called directly.
func (b Bypass) has(u *url.URL) bool {
	host, port := canonical(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ip, err := netip.ParseAddr(host)
	for _, r := range b {
		if r.port != "" && r.port != port || r.scheme != "" && r.scheme != u.Scheme {
			continue
		}
		if err == nil && r.prefix.Contains(ip) || r.pattern != "" && fits(r.pattern, host) {
			return true
		}
		if err != nil && (r.simple && !strings.Contains(host, ".") || r.under != "" && strings.HasSuffix(host, r.under)) {
			return true
		}
	}
	return false
}

// fits reports whether a name fits a pattern, in which "*" stands for any text.
func fits(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return pattern == name
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}
