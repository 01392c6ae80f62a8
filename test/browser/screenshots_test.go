package browser_test

import (
	"flag"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/cryptotest"
)

// screenshots is where `make screenshots` has the pictures of the documents written.
var screenshots = flag.String("screenshots", "", "write the pictures of the documents into this folder")

// maxPicture is the size of a picture, in bytes, that a reader should wait for at most.
const maxPicture = 150_000

// pictures are those of the documents.
var pictures = []struct {
	name   string
	path   string
	public bool
	lang   string
	scheme string
	width  int
	height int
}{
	{name: "console-overview", path: "/console/", lang: english, scheme: light, width: 1100, height: 800},
	{name: "console-overview.zh-CN", path: "/console/", lang: chinese, scheme: light, width: 1100, height: 800},
	{name: "console-licenses", path: "/console/licenses", lang: english, scheme: dark, width: 1100, height: 720},
	{name: "console-licenses.zh-CN", path: "/console/licenses", lang: chinese, scheme: dark, width: 1100, height: 720},
	{name: "console-license", path: "/console/licenses/{id}", lang: english, scheme: light, width: 1100, height: 900},
	{name: "console-license-phone.zh-CN", path: "/console/licenses/{id}", lang: chinese, scheme: dark, width: phone, height: 780},
	{name: "activate", path: "/activate", public: true, lang: english, scheme: light, width: 900, height: 760},
	{name: "activate-phone.zh-CN", path: "/activate", public: true, lang: chinese, scheme: light, width: phone, height: 780},
}

// The pictures of the documents can be made, and are small. They show the same each
// time: what the shop draws at random is drawn from a seed.
func TestScreenshots(t *testing.T) {
	tl := newTools(t)
	if out, err := exec.CommandContext(t.Context(), "fc-list", ":lang=zh-cn").Output(); err == nil && len(out) == 0 {
		const none = "there is no Chinese font (Debian's package fonts-noto-cjk)"
		if os.Getenv("CI") == "true" || *screenshots != "" {
			t.Fatal(none)
		}
		t.Skip(none)
	}
	cryptotest.SetGlobalRandom(t, 1)
	s := newShop(t)
	c := s.signIn("admin")
	dir := t.TempDir()
	if *screenshots != "" {
		dir = *screenshots
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	visits := make([]visit, len(pictures))
	for i, p := range pictures {
		v := visit{Origin: s.console(), Path: s.path(p.path), Lang: p.lang, Schemes: []string{p.scheme}, Width: p.width, Height: p.height, Cookies: []cookie{c}}
		if p.public {
			v.Origin, v.Cookies = s.public(), nil
		}
		v.Shot = filepath.Join(dir, p.name+".png")
		visits[i] = v
	}
	for i, got := range tl.look(t, visits) {
		p, v := pictures[i], visits[i]
		if got.Error != "" || got.Status != http.StatusOK {
			t.Errorf("%s: HTTP %d, %s", p.name, got.Status, got.Error)
			continue
		}
		f, err := os.Open(v.Shot)
		if err != nil {
			t.Error(err)
			continue
		}
		about, err := png.DecodeConfig(f)
		size, seekErr := f.Seek(0, 2)
		f.Close()
		if err != nil || seekErr != nil || about.Width != p.width || about.Height != p.height {
			t.Errorf("%s: %d by %d, want %d by %d: %v", p.name, about.Width, about.Height, p.width, p.height, err)
		}
		if size > maxPicture {
			t.Errorf("%s has %d bytes, at most %d are wanted", p.name, size, maxPicture)
		}
	}
}
