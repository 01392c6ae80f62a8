// Package fingerprint collects what a machine shows of itself, so that a
// licence can be bound to it: permanent network addresses, disk serials, the
// board's serial, the firmware's UUID, the processor's model, the machine id of
// the operating system and what an administrator supplies. Matching is not
// here; license.Match does it.
//
// A Set holds values and stays on the machine. Only digests leave it, salted
// per product (Set.Digests), or the marketplace's own string where the
// marketplace asks for it (Set.Marketplace).
//
// The rules of collecting:
//
//   - The result is the same for root and for an ordinary user, so what root
//     alone can read is left out; it is the same before and after a reboot, and
//     with an adapter up or down, bonded or not.
//   - What cannot be read, or is a placeholder such as "To be filled by
//     O.E.M.", is absent. Absent is never different. Set.Notes says why.
//   - What comes and goes or moves between machines is left out: USB disks and
//     adapters, memory cards, virtual functions, bridges, tunnels.
//   - A container shows its host's hardware and its image's machine id, neither
//     of which identify it. There only the administrator's id counts, beside
//     the processor's model.
//
// Linux, Windows, macOS and FreeBSD are read without privileges, and without
// subprocesses but for two runs of ioreg on macOS; docs/fingerprint.md says what
// is read from where. Of other systems the set holds the operating system's
// machine id, where there is one, and the administrator's.
package fingerprint

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

// The environments that a Set can name. They inform and decide nothing later on.
const (
	Metal     = machine.Metal
	VM        = machine.VM
	Container = machine.Container
)

// MaxMarketplace is the longest string that Marketplace returns, in bytes.
const MaxMarketplace = 5120

// Set is what a machine shows of itself: values by kind. They are personal
// data; printing a Set shows only how many there are of each kind.
//
// The zero Set is a machine that shows nothing.
type Set struct {
	// Values holds what was found. Order does not matter.
	Values map[license.Kind][]string
	// Environment is Metal, VM or Container, or "" where it is not known.
	Environment string
	// Code is an identification code that a person typed, or "".
	Code string
	// Notes says in words why a kind is absent, where there is something to say.
	Notes map[license.Kind]string
}

// Digests returns what stands for the machine in requests for a product.
func (s Set) Digests(product string) license.Fingerprint {
	return s.DigestsWith(license.ProductSalt(product))
}

// DigestsWith is Digests under a given salt; a verifier uses the one that
// stands in the licence.
func (s Set) DigestsWith(salt []byte) license.Fingerprint {
	fp := license.Fingerprint{Salt: salt, Environment: s.Environment}
	all := license.Components{}
	for kind, values := range s.Values {
		for _, v := range values {
			if d, ok := license.DigestValue(salt, kind, canonical(kind, v)); ok {
				all[kind] = append(all[kind], d)
			}
		}
	}
	fp.Components = all.Normalize()
	if s.Code != "" {
		fp.Code, _ = license.DigestCode(salt, s.Code)
	}
	return fp
}

// ParseMarketplace returns the machine that the marketplace's device fingerprint
// names, MAC|DISK|BOARD|CPU (access guide …649268), and to which a licence may
// have been bound from that string alone. Placeholders in it are absent. The
// string as a whole is the Code of the set, since a string that shows too little
// is bound to so; an identification code, which has not that form, is that alone.
//
// What is empty, longer than license.MaxDevice or no text is license.BadRequest.
func ParseMarketplace(text string) (Set, error) {
	d, err := license.ParseDevice(text)
	if err != nil {
		return Set{}, err
	}
	return Set{Values: d.Values(), Code: d.Reveal()}, nil
}

// Marketplace returns the marketplace's device fingerprint, MAC|DISK|BOARD|CPU
// in upper case. A part that is absent is empty, several values are joined by
// commas in bytewise order. Of several for the processor its id, as
// BFEBFBFF00090672, goes before the name of its model, as the marketplace's own
// client has it. Where the whole would be longer than MaxMarketplace, the last
// values of the longer of the two lists are left out, one after the other.
func (s Set) Marketplace() string {
	mac, disk := s.normal(license.KindMAC), s.normal(license.KindDisk)
	tail := "|" + first(s.normal(license.KindBoard)) + "|" + processor(s.normal(license.KindCPU))
	macs, disks := joined(mac), joined(disk)
	for macs+len("|")+disks+len(tail) > MaxMarketplace && macs+disks > 0 {
		if macs > disks {
			mac = mac[:len(mac)-1]
			macs = joined(mac)
		} else {
			disk = disk[:len(disk)-1]
			disks = joined(disk)
		}
	}
	return strings.Join(mac, ",") + "|" + strings.Join(disk, ",") + tail
}

// joined returns how long values are that are joined by commas.
func joined(values []string) int {
	n := max(0, len(values)-1)
	for _, v := range values {
		n += len(v)
	}
	return n
}

// processor returns the id of the processor, 16 digits, or else its model.
func processor(values []string) string {
	for _, v := range values {
		if len(v) == 16 && strings.Trim(v, "0123456789ABCDEF") == "" {
			return v
		}
	}
	return first(values)
}

// normal returns the values of a kind in the form of which digests are made,
// sorted and without repetitions.
func (s Set) normal(kind license.Kind) []string {
	var out []string
	for _, v := range s.Values[kind] {
		if n, ok := license.NormalizeValue(canonical(kind, v)); ok && len(n) <= maxValue {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// canonical writes a network address with colons and leaves the rest alone.
func canonical(kind license.Kind, value string) string {
	if kind == license.KindMAC {
		return strings.ReplaceAll(value, "-", ":")
	}
	return value
}

// String says how many values there are of each kind, and none of them.
func (s Set) String() string {
	var b strings.Builder
	b.WriteString("machine(" + s.Environment)
	for _, kind := range slices.Sorted(maps.Keys(s.Values)) {
		fmt.Fprintf(&b, " %s:%d", kind, len(s.Values[kind]))
	}
	return b.String() + ")"
}

// GoString hides the values from %#v.
func (s Set) GoString() string { return s.String() }

// LogValue hides the values from slog.
func (s Set) LogValue() slog.Value { return slog.StringValue(s.String()) }
