package sysproxy

import (
	"net"
	"strings"
)

// dict is a dictionary of a property list, as package plist reads one. That
// package is not imported here: only products for macOS link what it reads with.
type dict = map[string]any

// MacOS takes the proxy settings of macOS from the file in which the system
// keeps the settings of its network, preferences.plist. Each service, such as
// Wi-Fi, has its own: those of the first one count, in the order that the
// administrator gave the services of the current set, whose device is up.
func MacOS(preferences map[string]any, up func(device string) bool) Settings {
	set := in(in(preferences, "Sets"), strings.TrimPrefix(text(preferences, "CurrentSet"), "/Sets/"))
	order, _ := in(in(in(set, "Network"), "Global"), "IPv4")["ServiceOrder"].([]any)
	for _, id := range order {
		name, _ := id.(string)
		service := in(in(preferences, "NetworkServices"), name)
		device := text(in(service, "Interface"), "DeviceName")
		if device == "" || on(service, "__INACTIVE__") || !up(device) {
			continue
		}
		return ofService(in(service, "Proxies"))
	}
	return Settings{}
}

func ofService(proxies dict) Settings {
	s := Settings{Source: "the proxy settings of macOS"}
	proxy := func(kind, scheme string) string {
		host, port := text(proxies, kind+"Proxy"), text(proxies, kind+"Port")
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
func on(d dict, key string) bool { return d[key] == "1" || d[key] == true }

// in returns a dictionary within another, nil where there is none of that name.
func in(d dict, key string) dict {
	inner, _ := d[key].(dict)
	return inner
}

// text returns a text of a dictionary, "" where there is none of that name.
func text(d dict, key string) string {
	s, _ := d[key].(string)
	return s
}
