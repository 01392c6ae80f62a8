package win32

import (
	"strconv"
	"strings"
)

// EverybodyReads reports whether a security descriptor, in its text form
// (SDDL), lets every user of the machine read the file that it belongs to.
// Entries are judged in their order, as Windows does, for one who is a member
// of Users, Authenticated Users and Everyone and of nothing else. Conditional
// entries let nobody.
func EverybodyReads(sddl string) bool {
	acl, found := discretionary(sddl)
	if !found {
		return false
	}
	if strings.HasPrefix(acl, "NO_ACCESS_CONTROL") {
		return true
	}
	for {
		_, rest, found := strings.Cut(acl, "(")
		if !found {
			return false
		}
		entry, after, found := strings.Cut(rest, ")")
		if !found {
			return false
		}
		acl = after
		fields := strings.Split(entry, ";")
		if len(fields) != 6 || hasPair(fields[1], "IO") || !everybody(fields[5]) || !reads(fields[2]) {
			continue
		}
		switch fields[0] {
		case "A":
			return true
		case "D":
			return false
		}
	}
}

// discretionary returns the part of a descriptor behind "D:".
func discretionary(sddl string) (string, bool) {
	depth := 0
	for i := range len(sddl) {
		switch sddl[i] {
		case '(':
			depth++
		case ')':
			depth--
		case 'D':
			if depth == 0 && strings.HasPrefix(sddl[i:], "D:") {
				return sddl[i+2:], true
			}
		}
	}
	return "", false
}

func everybody(sid string) bool {
	switch sid {
	case "WD", "AU", "BU", "S-1-1-0", "S-1-5-11", "S-1-5-32-545":
		return true
	}
	return false
}

// reads reports whether rights hold the one to read a file's data. In letters
// that is FA, FR, GA, GR or CC, which is the same bit under another name.
func reads(rights string) bool {
	if mask, err := strconv.ParseUint(rights, 0, 32); err == nil {
		const fileReadData, genericAll, genericRead = 1, 1 << 28, 1 << 31
		return mask&(fileReadData|genericAll|genericRead) != 0
	}
	for _, pair := range []string{"FA", "FR", "GA", "GR", "CC"} {
		if hasPair(rights, pair) {
			return true
		}
	}
	return false
}

// hasPair reports whether a row of pairs of letters holds one.
func hasPair(row, pair string) bool {
	for len(row) >= 2 {
		if row[:2] == pair {
			return true
		}
		row = row[2:]
	}
	return false
}
