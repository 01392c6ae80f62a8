package keys

import (
	"bytes"
	"crypto/ed25519"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/license/token"
)

// AnchorPrivatesPresent returns the paths of files with anchors' private halves
// that lie anywhere in the key folder at this moment, hidden files and folders
// in it included: every file below its folder anchors; elsewhere each that
// holds the key of an anchor, plain or sealed to the identity of the folder,
// and each that cannot be opened so, but holds something sealed or a private
// key and is named after an anchor. A file or folder that cannot be read is
// itself returned. What lies outside the key folder is not looked at, nor what
// links lead to.
func (r *Ring) AnchorPrivatesPresent() []string {
	s := search{folder: r.folder, anchors: r.view.Load().anchors}
	_ = filepath.WalkDir(r.folder.dir, func(path string, d fs.DirEntry, err error) error { // visit never fails
		return s.visit(path, d, err)
	})
	return s.found
}

// search looks for anchors' private halves.
type search struct {
	folder  *folder
	anchors token.Anchors
	found   []string
}

func (s *search) visit(path string, d fs.DirEntry, err error) error {
	rel, relErr := filepath.Rel(s.folder.dir, path)
	switch {
	case err != nil && os.IsNotExist(err): // it was there just now
	case err != nil || relErr != nil:
		s.found = append(s.found, path)
	case d.IsDir():
	case within(rel, anchorsDir) || !isOwnFile(rel) && s.holds(path, d):
		s.found = append(s.found, path)
	}
	return nil
}

func within(rel, folder string) bool {
	return strings.HasPrefix(filepath.ToSlash(rel), folder+"/")
}

// isOwnFile reports whether a path in the folder is that of a file which this
// package writes there, beside the anchors.
func isOwnFile(rel string) bool {
	if kid, ok := strings.CutSuffix(filepath.Base(rel), keySuffix); ok && within(rel, signingDir) {
		return isKID(kid)
	}
	return slices.Contains([]string{identityFile, sealedIdentityFile, anchorsFile, dataKeyFile, keySetFile, stateFile}, rel)
}

// holds reports whether a file holds, or seems to hold, an anchor's private half.
func (s *search) holds(path string, d fs.DirEntry) bool {
	info, err := d.Info()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return false
	}
	b, err := readFile(path, anyone)
	if err != nil {
		return true
	}
	defer clear(b)
	sealed := isSealed(b) || bytes.Contains(b, []byte(armorHeader))
	if isSealed(b) {
		if plain, err := s.folder.vault.unseal(path, b); err == nil {
			defer clear(plain)
			b, sealed = plain, false
		}
	}
	if k, err := parsePrivatePEM(path, b); err == nil {
		return isAnchor(s.anchors, k.public)
	}
	return named(d.Name()) && (sealed || bytes.Contains(b, []byte(pemPrivate+"-----")))
}

// named reports whether a file is named after anchors.
func named(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"anchor", "primary", "standby"}, func(word string) bool { return strings.Contains(name, word) })
}

func isAnchor(anchors token.Anchors, key ed25519.PublicKey) bool {
	return slices.ContainsFunc(anchors, func(a ed25519.PublicKey) bool { return a.Equal(key) })
}
