package sysproxy_test

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/client/internal/plist"
	"github.com/seed-357fa782/licensed/client/internal/sysproxy"
)

func parse(tb testing.TB, address string) *url.URL {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// through is the proxy for an address, "" where it goes directly.
func through(tb testing.TB, address string, environment, system sysproxy.Settings) string {
	tb.Helper()
	proxy, err := sysproxy.Choose(parse(tb, address), environment, func() sysproxy.Settings { return system })
	if err != nil {
		tb.Fatal(err)
	}
	if proxy == nil {
		return ""
	}
	return proxy.String()
}

func environment(pairs ...string) sysproxy.Settings {
	return sysproxy.Environment(func(name string) string {
		for _, p := range slices.Backward(pairs) {
			if value, ok := strings.CutPrefix(p, name+"="); ok {
				return value
			}
		}
		return ""
	})
}

const server = "https://licence.example.com/v1/requests"

func TestOrder(t *testing.T) {
	system := sysproxy.Windows(true, "system:8080", "*.direct.example")
	for name, c := range map[string]struct {
		address     string
		environment sysproxy.Settings
		want        string
	}{
		"the environment first":       {server, environment("HTTPS_PROXY=http://env:3128"), "http://env:3128"},
		"lower case":                  {server, environment("https_proxy=env:3128"), "http://env:3128"},
		"upper before lower":          {server, environment("https_proxy=b:1", "HTTPS_PROXY=a:1"), "http://a:1"},
		"a user and a password":       {server, environment("HTTPS_PROXY=http://me:p%40ss@env:3128/path?q"), "http://me:p%40ss@env:3128"},
		"over TLS":                    {server, environment("HTTPS_PROXY=https://env"), "https://env"},
		"SOCKS":                       {server, environment("HTTPS_PROXY=socks5://env:1080"), "socks5://env:1080"},
		"of the other scheme":         {server, environment("HTTP_PROXY=env:3128"), "http://system:8080"},
		"plain":                       {"http://licence.example.com", environment("HTTP_PROXY=env:3128"), "http://env:3128"},
		"plain in CGI":                {"http://licence.example.com", environment("REQUEST_METHOD=GET", "HTTP_PROXY=env:3128"), "http://system:8080"},
		"lower case in CGI":           {"http://licence.example.com", environment("REQUEST_METHOD=GET", "http_proxy=env:3128"), "http://env:3128"},
		"nothing":                     {server, environment(), "http://system:8080"},
		"blanks":                      {server, environment("HTTPS_PROXY=  "), "http://system:8080"},
		"NO_PROXY over the system":    {server, environment("NO_PROXY=example.com"), ""},
		"NO_PROXY for all":            {server, environment("NO_PROXY=*", "HTTPS_PROXY=env:1"), ""},
		"the system's exception":      {"https://a.direct.example", environment(), ""},
		"is not the environment's":    {"https://a.direct.example", environment("HTTPS_PROXY=env:3128"), "http://env:3128"},
		"this machine":                {"https://localhost:8443", environment("HTTPS_PROXY=env:3128"), ""},
		"its address":                 {"http://127.0.0.8:80", environment("HTTP_PROXY=env:3128"), ""},
		"its address in version 6":    {"https://[::1]:443", environment(), ""},
		"its address, mapped":         {"https://[::ffff:127.0.0.1]:443", environment(), ""},
		"a name that begins like one": {"https://localhost.example.com", environment(), "http://system:8080"},
		"another scheme":              {"ftp://licence.example.com", environment("HTTPS_PROXY=env:3128"), ""},
	} {
		if got := through(t, c.address, c.environment, system); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	sysproxy.Choose(parse(t, server), environment("HTTPS_PROXY=env:1"), func() sysproxy.Settings { //nolint:errcheck // see below
		t.Error("the system was asked in vain")
		return sysproxy.Settings{}
	})
}

// A setting that cannot be used is no way around the proxy, and is not shown.
func TestUnusableAddresses(t *testing.T) {
	for _, value := range []string{
		"http://me:secret@", "http://me:secret@host:port", "http://me:se/cret@host:3128x", "ftp://me:secret@host", "http://me:secret@host:0",
		"http://me:secret@host:70000", "me:secret@host:99999", "http://me:secret@[::1", "http://me:%zzsecret@host", "://secret", "secret\x00",
		"http://secret" + strings.Repeat("x", 5000),
	} {
		for name, settings := range map[string]sysproxy.Settings{
			"environment": environment("HTTPS_PROXY=" + value), "Windows": sysproxy.Windows(true, "https="+value, ""),
		} {
			proxy, err := sysproxy.Choose(parse(t, server), environment(), func() sysproxy.Settings { return settings })
			if err == nil || proxy != nil {
				t.Errorf("%q: through %v", value, proxy)
			} else if strings.Contains(err.Error(), "cret") || !strings.Contains(err.Error(), name) {
				t.Errorf("%q: %v", value, err)
			}
		}
	}
}

func TestBypass(t *testing.T) {
	for name, c := range map[string]struct {
		entries string // separated by ";"
		direct  []string
		proxied []string
	}{
		"names": {
			"licence.example.com;Other.Example.",
			[]string{"licence.example.com", "LICENCE.example.com.", "other.example"},
			[]string{"a.licence.example.com", "xlicence.example.com", "example.com"},
		},
		"below a domain": {
			"*.example.com;.example.org",
			[]string{"a.example.com", "a.b.example.com", "a.example.org"},
			[]string{"example.com", "example.org", "aexample.com", "a.example.com.evil.example"},
		},
		"patterns": {
			"192.168.*;licence-*.example.*;*internal",
			[]string{"192.168.7.9", "licence-1.example.com", "internal", "very-internal"},
			[]string{"192.16.8.1", "licence.example.com", "internal.example"},
		},
		"simple names":  {"<local>", []string{"licence", "host-1"}, []string{"licence.example.com", "10.0.0.1", "[fd00::1]"}},
		"networks":      {"10.0.0.0/8;169.254/16;fd00::/8", []string{"10.9.8.7", "169.254.3.4", "[fd12::1]"}, []string{"11.0.0.1", "169.255.0.1", "[fe00::1]"}},
		"addresses":     {"10.0.0.1;[fd00::1];fd00::2", []string{"10.0.0.1", "[fd00::1]", "[fd00::2]", "[::ffff:10.0.0.1]"}, []string{"10.0.0.10", "[fd00::3]"}},
		"ports":         {"licence.example.com:8443;[fd00::1]:8443;10.0.0.1:443", []string{"licence.example.com:8443", "[fd00::1]:8443", "10.0.0.1"}, []string{"licence.example.com", "[fd00::1]", "10.0.0.1:444"}},
		"schemes":       {"http://licence.example.com;https://10.0.0.1", []string{"10.0.0.1"}, []string{"licence.example.com"}},
		"everything":    {"*", []string{"licence.example.com", "10.0.0.1", "[fd00::1]"}, nil},
		"nothing of it": {";;.;*.; <loca>;<-loopback>;10.0.0.0/99;1/;:443;[;a:b", nil, []string{"licence.example.com", "10.0.0.1", "local", "a"}},
	} {
		s := sysproxy.Windows(true, "proxy:8080", c.entries)
		for _, host := range c.direct {
			if got := through(t, "https://"+host+"/v1", sysproxy.Settings{}, s); got != "" {
				t.Errorf("%s: %s goes through %s", name, host, got)
			}
		}
		for _, host := range c.proxied {
			if got := through(t, "https://"+host+"/v1", sysproxy.Settings{}, s); got != "http://proxy:8080" {
				t.Errorf("%s: %s goes through %q", name, host, got)
			}
		}
	}
}

// In the environment a name takes in those below it, as everywhere.
func TestNoProxy(t *testing.T) {
	env := environment("HTTPS_PROXY=proxy:1", "no_proxy=example.com, .example.org,10.0.0.0/8 ,host:8443,192.168.1.1")
	for host, direct := range map[string]bool{
		"example.com": true, "a.example.com": true, "aexample.com": false, "example.org": false, "a.example.org": true, "10.1.2.3": true,
		"host": false, "host:8443": true, "a.host:8443": true, "192.168.1.1": true, "192.168.1.10": false,
	} {
		if got := through(t, "https://"+host, env, sysproxy.Settings{}); (got == "") != direct {
			t.Errorf("%s goes through %q", host, got)
		}
	}
}

func TestWindows(t *testing.T) {
	for name, c := range map[string]struct {
		enabled      bool
		server       string
		https, plain string
	}{
		"one for all":         {true, "proxy.example.com:8080", "http://proxy.example.com:8080", "http://proxy.example.com:8080"},
		"off":                 {false, "proxy.example.com:8080", "", ""},
		"without a port":      {true, "proxy.example.com", "http://proxy.example.com", "http://proxy.example.com"},
		"with a scheme":       {true, "http://proxy.example.com:8080", "http://proxy.example.com:8080", "http://proxy.example.com:8080"},
		"one for each":        {true, "http=a:80;https=b:443;ftp=c:21;socks=d:1080", "http://b:443", "http://a:80"},
		"in capitals":         {true, "HTTP=a:80 HTTPS=https://b:443", "https://b:443", "http://a:80"},
		"for one scheme only": {true, "http=a:80", "", "http://a:80"},
		"SOCKS only":          {true, "socks=d:1080", "", ""},
		"one, and the rest":   {true, "https=b:443;a:80", "http://b:443", "http://a:80"},
		"nothing":             {true, "", "", ""},
		"nothing of it":       {true, ";;=;https=;", "", ""},
	} {
		s := sysproxy.Windows(c.enabled, c.server, "")
		if got := through(t, server, sysproxy.Settings{}, s); got != c.https {
			t.Errorf("%s: https through %q", name, got)
		}
		if got := through(t, "http://licence.example.com", sysproxy.Settings{}, s); got != c.plain {
			t.Errorf("%s: http through %q", name, got)
		}
	}
}

func preferences(tb testing.TB) []byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/preferences.plist")
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// macOS are the settings in a file of macOS, whole or not.
func macOS(data []byte, up func(device string) bool) sysproxy.Settings {
	list, _ := plist.Parse(data) // what stands before damage is returned
	root, _ := list.(plist.Dict)
	return sysproxy.MacOS(root, up)
}

func TestMacOS(t *testing.T) {
	data := preferences(t)
	for name, c := range map[string]struct {
		devices      string
		https, plain string
		host         string
	}{
		"by cable":               {"en7 en0", "http://secure.example.com:8443", "http://web.example.com:8080", "licence.example.com"},
		"an exception":           {"en7", "", "", "intranet.example.com"},
		"a simple name":          {"en7", "", "", "licence"},
		"a network":              {"en7", "", "", "169.254.9.9"},
		"by radio":               {"en0", "socks5://socks.example.com:1080", "socks5://socks.example.com:1080", "licence.example.com"},
		"a simple name by radio": {"en0", "socks5://socks.example.com:1080", "socks5://socks.example.com:1080", "licence"},
		"a script":               {"bridge0", "", "", "licence.example.com"},
		"switched off":           {"en9", "", "", "licence.example.com"},
		"nothing is up":          {"", "", "", "licence.example.com"},
	} {
		s := macOS(data, func(device string) bool { return slices.Contains(strings.Fields(c.devices), device) })
		if got := through(t, "https://"+c.host, sysproxy.Settings{}, s); got != c.https {
			t.Errorf("%s: https through %q", name, got)
		}
		if got := through(t, "http://"+c.host, sysproxy.Settings{}, s); got != c.plain {
			t.Errorf("%s: http through %q", name, got)
		}
	}
	for _, damaged := range [][]byte{nil, []byte("bplist00\xd1"), data[:len(data)/2], []byte("<plist><array/></plist>"), []byte("<plist><dict><key>CurrentSet</key><true/></dict></plist>")} {
		if s := macOS(damaged, func(string) bool { return true }); s.HTTP != "" || s.HTTPS != "" {
			t.Errorf("%.20q: %+v", damaged, s)
		}
	}
}

// What the machine that runs this test is set to must be readable.
func TestOf(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://me:secret@proxy.example.com:3128")
	t.Setenv("NO_PROXY", "direct.example.com")
	for address, want := range map[string]string{
		server: "http://me:secret@proxy.example.com:3128", "https://direct.example.com": "", "https://127.0.0.1:1": "",
	} {
		proxy, err := sysproxy.Of(&http.Request{URL: parse(t, address)})
		if err != nil || (proxy == nil) != (want == "") || proxy != nil && proxy.String() != want {
			t.Errorf("%s: %v, %v", address, proxy, err)
		}
	}
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "")
	if _, err := sysproxy.Of(&http.Request{URL: parse(t, server)}); err != nil {
		t.Error(err)
	}
}

// FuzzChoose: no setting makes an address of a proxy that a transport cannot
// use, or shows a password.
func FuzzChoose(f *testing.F) {
	f.Add("http://me:secret@proxy:3128", "example.com,10/8", server)
	f.Add("http=a:80;https=b:443", "<local>;*.x;192.168.*;[::1]:80", "https://[fe80::1%25eth0]:80/")
	f.Add("socks5://[::1]:1080", "*a*b*;//;:;[", "http://a.b.")
	f.Fuzz(func(t *testing.T, value, direct, address string) {
		u, err := url.Parse(address)
		if err != nil {
			return
		}
		for _, s := range []sysproxy.Settings{
			environment("HTTPS_PROXY="+value, "HTTP_PROXY="+value, "NO_PROXY="+direct), sysproxy.Windows(true, value, direct),
		} {
			proxy, err := sysproxy.Choose(u, sysproxy.Settings{}, func() sysproxy.Settings { return s })
			switch {
			case err != nil:
				if proxy != nil || len(err.Error()) > 200 {
					t.Errorf("%v, %v", proxy, err)
				}
			case proxy != nil:
				if proxy.Hostname() == "" || proxy.Path != "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme) {
					t.Errorf("%q became %q", value, proxy)
				}
				if _, err := url.Parse(proxy.String()); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func FuzzMacOS(f *testing.F) {
	f.Add(preferences(f))
	f.Add([]byte("<plist><dict><key>CurrentSet</key><string>/Sets/A</string></dict></plist>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := macOS(data, func(string) bool { return true })
		if (s.HTTP != "" || s.HTTPS != "") && s.Source == "" {
			t.Error("a proxy out of nowhere")
		}
	})
}
