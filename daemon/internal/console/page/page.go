// Package page renders what people see in a browser: the staff's console and
// the buyer's page are Sites of it. It brings what both share: templates in two
// languages, dates and numbers as each language writes them, one style sheet with
// light and dark, and the headers that keep a page to itself.
//
// A page works without script and loads nothing from elsewhere: the content
// security policy allows files of this server and nothing inline.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Options of a Site. Prefix and Files are required.
type Options struct {
	// Prefix is where the Site is served, "/console/" say. It begins and ends with a
	// slash.
	Prefix string
	// Files holds the templates, "*.html", of which those that begin with "_" are parts
	// that every page can use; the texts, "text/en.json" and "text/zh-CN.json"; and under "asset/"
	// what browsers load.
	Files fs.FS
	// Zone is that in which people read times; nil: UTC.
	Zone *time.Location
	// Camera has pages ask for the camera.
	Camera bool
	// Funcs are what the templates of this Site can call besides.
	Funcs template.FuncMap
}

// Site is a set of pages under one prefix.
type Site struct {
	prefix  string
	camera  bool
	funcs   template.FuncMap
	pages   map[Lang]map[string]*template.Template
	texts   map[Lang]texts
	assets  *assets
	writers map[Lang]writer
}

//go:embed *.html text asset
var shared embed.FS

// layout is the part that every page is put into.
const layout = "_layout.html"

// New reads the templates and texts of a Site. An error is a defect of the program.
func New(o Options) (*Site, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	s := &Site{
		prefix: o.Prefix, camera: o.Camera, funcs: o.Funcs, pages: make(map[Lang]map[string]*template.Template),
		texts: make(map[Lang]texts), writers: make(map[Lang]writer),
	}
	var err error
	if s.assets, err = newAssets(o.Prefix, shared, o.Files); err != nil {
		return nil, err
	}
	for _, l := range Langs() {
		if s.texts[l], err = readTexts(l, shared, o.Files); err != nil {
			return nil, err
		}
		s.writers[l] = writer{lang: l, zone: o.Zone, texts: s.texts[l]}
		if s.pages[l], err = s.parse(l, o.Files); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// parse reads every page in one language: its texts are functions of the templates.
func (s *Site) parse(l Lang, files fs.FS) (map[string]*template.Template, error) {
	base := template.New(layout).Option("missingkey=error").Funcs(s.writers[l].funcs()).Funcs(template.FuncMap{"asset": s.assets.path}).Funcs(s.funcs)
	for _, from := range []fs.FS{shared, files} {
		if parts, err := fs.Glob(from, "_*.html"); err != nil {
			return nil, err
		} else if len(parts) > 0 {
			if _, err := base.ParseFS(from, parts...); err != nil {
				return nil, fmt.Errorf("parts of pages: %w", err)
			}
		}
	}
	out := make(map[string]*template.Template)
	for _, from := range []fs.FS{shared, files} {
		names, err := fs.Glob(from, "*.html")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if strings.HasPrefix(name, "_") {
				continue
			}
			t, err := base.Clone()
			if err == nil {
				t, err = t.ParseFS(from, name)
			}
			if err != nil {
				return nil, fmt.Errorf("page %s: %w", name, err)
			}
			out[strings.TrimSuffix(name, path.Ext(name))] = t
		}
	}
	return out, nil
}

// View is what a template is given. Data is what belongs to the page.
type View struct {
	Lang  Lang
	Path  string // of the page, with its query, for links back to it
	Other Lang   // the language to switch to
	Site  any    // what every page of the Site is given
	Data  any
}

// Write answers with a page. Site and data are what the templates are given; a page
// that cannot be made is answered with a plain text and returned as an error.
func (s *Site) Write(w http.ResponseWriter, r *http.Request, status int, name string, site, data any) error {
	l := s.Lang(r)
	t, ok := s.pages[l][name]
	if !ok {
		return s.fail(w, fmt.Errorf("there is no page %q", name))
	}
	other := Langs()[(slices.Index(Langs(), l)+1)%len(Langs())]
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, layout, View{Lang: l, Path: r.URL.RequestURI(), Other: other, Site: site, Data: data}); err != nil {
		return s.fail(w, fmt.Errorf("page %s: %w", name, err))
	}
	s.Headers(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", string(l))
	w.Header().Add("Vary", "Accept-Language, Cookie")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // the reader may be gone
	return nil
}

func (s *Site) fail(w http.ResponseWriter, err error) error {
	http.Error(w, "This page cannot be shown. 无法显示此页面。", http.StatusInternalServerError)
	return err
}

// Text is a text of the Site in the language of a request.
func (s *Site) Text(r *http.Request, key string, args ...any) string {
	return s.writers[s.Lang(r)].text(key, args...)
}

// Keys are those of the texts that a Site has in a language.
func (s *Site) Keys(l Lang) []string { return slices.Sorted(maps.Keys(s.texts[l])) }

// Headers sets what keeps a page to itself: nothing inline, nothing from elsewhere, not
// in a frame, not kept by anybody.
func (s *Site) Headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	camera := "()"
	if s.camera {
		camera = "(self)"
	}
	h.Set("Permissions-Policy", "camera="+camera+", microphone=(), geolocation=(), payment=(), usb=()")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// Register serves the files that the pages load.
func (s *Site) Register(mux *http.ServeMux) { mux.Handle("GET "+s.prefix+"asset/", s.assets) }
