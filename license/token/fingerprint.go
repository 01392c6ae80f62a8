package token

import (
	"slices"

	"github.com/seed-357fa782/licensed/license"
)

// components is kind → digests in JSON. Kinds that are not known are skipped,
// whatever they hold, so that a newer collector can send them.
type components struct {
	Custom []license.Digest `json:"custom,omitempty"`
	OS     []license.Digest `json:"os,omitempty"`
	UUID   []license.Digest `json:"uuid,omitempty"`
	Disk   []license.Digest `json:"disk,omitempty"`
	MAC    []license.Digest `json:"mac,omitempty"`
	Board  []license.Digest `json:"board,omitempty"`
	CPU    []license.Digest `json:"cpu,omitempty"`
}

func componentsOf(c license.Components) components {
	return components{
		Custom: c[license.KindCustom], OS: c[license.KindOS], UUID: c[license.KindUUID], Disk: c[license.KindDisk],
		MAC: c[license.KindMAC], Board: c[license.KindBoard], CPU: c[license.KindCPU],
	}
}

// decode returns the components that are there, nil where none is.
func (c *components) decode() license.Components {
	var out license.Components
	add := func(kind license.Kind, digests []license.Digest) {
		if len(digests) == 0 {
			return
		}
		if out == nil {
			out = make(license.Components)
		}
		out[kind] = digests
	}
	add(license.KindCustom, c.Custom)
	add(license.KindOS, c.OS)
	add(license.KindUUID, c.UUID)
	add(license.KindDisk, c.Disk)
	add(license.KindMAC, c.MAC)
	add(license.KindBoard, c.Board)
	add(license.KindCPU, c.CPU)
	return out
}

// maxSalt is the longest salt that is read, in bytes. Ours have 16.
const maxSalt = 64

func decodeSalt(s string) ([]byte, *fault) {
	if s == "" {
		return nil, nil
	}
	salt, err := b64.DecodeString(s)
	if err != nil || len(salt) > maxSalt || len(s) != b64.EncodedLen(len(salt)) {
		return nil, malformed("salt", "is not base64url of at most 64 bytes")
	}
	return salt, nil
}

// checkDigests judges the form of what stands for a machine: at most limit
// digests of a kind, and a salt where there is any.
func checkDigests(salt []byte, c license.Components, code license.Digest, limit int) *fault {
	some := code != ""
	for kind, digests := range c {
		if !slices.Contains(license.Kinds(), kind) {
			return malformed("components", "holds a kind that is not known")
		}
		if len(digests) > limit {
			return malformed("components."+string(kind), "has too many elements")
		}
		for _, d := range digests {
			if !d.Valid() {
				return malformed("components."+string(kind), "holds what is not a digest")
			}
			some = true
		}
	}
	switch {
	case code != "" && !code.Valid():
		return malformed("code", "is not a digest")
	case len(salt) > maxSalt:
		return malformed("salt", "is too long")
	case some && len(salt) == 0:
		return malformed("salt", "is missing")
	}
	return nil
}
