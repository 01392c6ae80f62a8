package sysproxy

import "strings"

// Windows reads the proxy settings of Windows as they stand in the registry,
// under Internet Settings: ProxyServer is one proxy for everything, or one for
// each scheme ("http=a:80;https=b:443"), and ProxyOverride what is called
// directly. A proxy for SOCKS, which is version 4 there, is not used.
func Windows(enabled bool, server, override string) Settings {
	if !enabled {
		return Settings{}
	}
	s := Settings{Source: "the proxy settings of Windows"}
	split := func(r rune) bool { return r == ';' || r == ' ' || r == '\t' || r == '\r' || r == '\n' }
	all := ""
	for _, e := range strings.FieldsFunc(server, split) {
		scheme, proxy, ok := strings.Cut(e, "=")
		switch {
		case !ok && all == "":
			all = e
		case strings.EqualFold(scheme, "http") && s.HTTP == "":
			s.HTTP = proxy
		case strings.EqualFold(scheme, "https") && s.HTTPS == "":
			s.HTTPS = proxy
		}
	}
	if s.HTTP == "" {
		s.HTTP = all
	}
	if s.HTTPS == "" {
		s.HTTPS = all
	}
	s.Bypass = bypass(strings.FieldsFunc(override, split), false)
	return s
}
