package sysproxy

import (
	"net"
	"strings"

	"github.com/seed-357fa782/licensed/client/internal/plist"
)

// MacOS reads the proxy settings of macOS from the file in which the system
// keeps the settings of its network, preferences.plist. Each service, such as
// Wi-Fi, has its own: those of the first one count, in the order that the
// administrator gave the services of the current set, whose device is up.
func MacOS(preferences []byte, up func(device string) bool) Settings {
	list, err := plist.Parse(preferences)
	root, _ := list.(plist.Dict)
	if err != nil {
		return Settings{}
	}
	set := plist.In(plist.In(root, "Sets"), strings.TrimPrefix(plist.Text(root, "CurrentSet"), "/Sets/"))
	order, _ := plist.In(plist.In(plist.In(set, "Network"), "Global"), "IPv4")["ServiceOrder"].([]any)
	for _, id := range order {
		name, _ := id.(string)
		service := plist.In(plist.In(root, "NetworkServices"), name)
		device := plist.Text(plist.In(service, "Interface"), "DeviceName")
		if device == "" || on(service, "__INACTIVE__") || !up(device) {
			continue
		}
		return ofService(plist.In(service, "Proxies"))
	}
	return Settings{}
}

func ofService(proxies plist.Dict) Settings {
	s := Settings{Source: "the proxy settings of macOS"}
	proxy := func(kind, scheme string) string {
		host, port := plist.Text(proxies, kind+"Proxy"), plist.Text(proxies, kind+"Port")
		switch {
		case !on(proxies, kind+"Enable") || host == "":
			return ""
		case port == "" || port == "0":
			return scheme + "://" + host
		}
		return scheme + "://" + net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	s.HTTP, s.HTTPS = proxy("HTTP", "http"), proxy("HTTPS", "http")
	socks := proxy("SOCKS", "socks5")
	if s.HTTP == "" {
		s.HTTP = socks
	}
	if s.HTTPS == "" {
		s.HTTPS = socks
	}
	var direct []string
	exceptions, _ := proxies["ExceptionsList"].([]any)
	for _, e := range exceptions {
		if text, ok := e.(string); ok {
			direct = append(direct, text)
		}
	}
	if on(proxies, "ExcludeSimpleHostnames") {
		direct = append(direct, "<local>")
	}
	s.Bypass = bypass(direct, false)
	return s
}

// on reports whether a switch is on: a number, and of some programs a boolean.
func on(d plist.Dict, key string) bool { return d[key] == "1" || d[key] == true }
