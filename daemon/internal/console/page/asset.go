package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// assets are the files that pages load. Their addresses name their content, so that
// a browser keeps them for good and never shows a page with the files of another
// version.
type assets struct {
	prefix string
	paths  map[string]string // by name
	files  map[string]asset  // by path
}

type asset struct {
	kind string
	data []byte
	zip  []byte // nil where that is not smaller
}

func newAssets(prefix string, from ...fs.FS) (*assets, error) {
	a := &assets{prefix: prefix, paths: make(map[string]string), files: make(map[string]asset)}
	for _, f := range from {
		names, err := fs.Glob(f, "asset/*")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if err := a.add(f, name); err != nil {
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
	return a, nil
}

func (a *assets) add(from fs.FS, name string) error {
	data, err := fs.ReadFile(from, name)
	if err != nil {
		return err
	}
	ext := path.Ext(name)
	kind := mime.TypeByExtension(ext)
	if known := map[string]string{ // not what the machine's own tables say
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
	}[ext]; known != "" {
		kind = known
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	file := asset{kind: kind, data: data}
	if b.Len() < len(data) {
		file.zip = b.Bytes()
	}
	sum := sha256.Sum256(data)
	base := strings.TrimSuffix(path.Base(name), ext)
	at := a.prefix + "asset/" + base + "." + hex.EncodeToString(sum[:6]) + ext
	a.paths[path.Base(name)], a.files[at] = at, file
	return nil
}

// path is where a file is served.
func (a *assets) path(name string) (string, error) {
	at, ok := a.paths[name]
	if !ok {
		return "", fmt.Errorf("there is no file %q", name)
	}
	return at, nil
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := a.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", file.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	data := file.data
	if file.zip != nil && takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		data = file.zip
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the browser may be gone
}

// takesGzip reports whether a browser unpacks gzip; one that weighs encodings gets
// what is plain.
func takesGzip(r *http.Request) bool {
	for e := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(e), "gzip") {
			return true
		}
	}
	return false
}
