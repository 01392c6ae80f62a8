package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a [time.Duration] that is written as Go's, with "d" for days of
// 24 hours before the rest, as "14d" or "1d12h".
type Duration time.Duration

// ParseDuration reads a duration.
func ParseDuration(s string) (Duration, error) {
	bad := fmt.Errorf("%q is no duration; write one as 90s, 15m, 336h, 14d or 1d12h", s)
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	} else if !dayCount.MatchString(days) {
		return 0, bad
	}
	whole, err := time.ParseDuration(days + "h")
	if err != nil || whole > math.MaxInt64/24 || whole < math.MinInt64/24 {
		return 0, bad
	}
	whole *= 24
	if rest == "" {
		if !found {
			return 0, bad
		}
		return Duration(whole), nil
	}
	if found && (rest[0] == '-' || rest[0] == '+') {
		return 0, bad
	}
	part, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if strings.HasPrefix(days, "-") {
		part = -part
	}
	if sum := whole + part; (part > 0) == (sum > whole) || part == 0 {
		return Duration(sum), nil
	}
	return 0, bad // it overflows
}

// String writes d with its days, as "14d" or "1d12h".
func (d Duration) String() string {
	if d < 0 {
		if d == math.MinInt64 {
			return time.Duration(d).String()
		}
		return "-" + (-d).String()
	}
	const day = Duration(24 * time.Hour)
	text := ""
	if days := d / day; days > 0 {
		text = strconv.FormatInt(int64(days), 10) + "d"
	}
	rest := d % day
	if rest == 0 && text != "" {
		return text
	}
	part := time.Duration(rest).String()
	if p, ok := strings.CutSuffix(part, "m0s"); ok {
		part = p + "m"
	}
	if p, ok := strings.CutSuffix(part, "h0m"); ok {
		part = p + "h"
	}
	return text + part
}

// Machines is how many machines a licence is for.
type Machines struct {
	Count  int  // where FromAmount is false
	Amount bool // the quantity of the order
}

// String writes m as the configuration does.
func (m Machines) String() string {
	if m.Amount {
		return "amount"
	}
	return strconv.Itoa(m.Count)
}

// Overage is how many machines more than it is for a licence lets in. It is
// written as refuse, or as {allow: N}.
type Overage struct {
	Allow int
}

// String writes o as the configuration does.
func (o Overage) String() string {
	if o.Allow == 0 {
		return "refuse"
	}
	return "{allow: " + strconv.Itoa(o.Allow) + "}"
}

// checkOverage takes the only word that an overage can be.
func checkOverage(s string) error {
	if s != "refuse" {
		return fmt.Errorf("%q is neither refuse nor {allow: NUMBER}", s)
	}
	return nil
}

// Features are a product's features. A value is true, a [json.Number] or a
// string; one that the configuration calls false is absent.
type Features map[string]any

func number(literal string) json.Number { return json.Number(literal) }

var (
	dayCount   = regexp.MustCompile(`^[+-]?[0-9]+(?:\.[0-9]+)?$`)
	decimal    = regexp.MustCompile(`^(?:0|-?[1-9][0-9]*)$`)
	jsonNumber = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$`)
)

func parseInt(s string) (int, error) {
	if !decimal.MatchString(s) {
		return 0, fmt.Errorf("%q is no whole number in plain digits", s)
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is too large", s)
	}
	return int(n), nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func parseMachines(s string) (Machines, error) {
	if s == "amount" {
		return Machines{Amount: true}, nil
	}
	n, err := parseInt(s)
	if err != nil {
		return Machines{}, fmt.Errorf(`%q is neither a number nor "amount"`, s)
	}
	return Machines{Count: n}, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network; write one as 10.0.0.0/8 or fd00::/8, or a single address", s)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its mask; the network is %s", s, prefix.Masked())
	}
	return prefix, nil
}

// ParseZone reads the name of a time zone, as Asia/Shanghai or UTC. What depends
// on the machine is refused.
func ParseZone(name string) (*time.Location, error) {
	switch name {
	case "":
		return nil, errors.New("a time zone must be named, as Asia/Shanghai or UTC")
	case "Local":
		return nil, errors.New(`"Local" depends on the machine; name a zone, as Asia/Shanghai`)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q", name)
	}
	return loc, nil
}
