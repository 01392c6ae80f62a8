package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// What Linux tells under /proc of processes and processors. Other systems do not.

var errNotTold = errors.New("this system does not tell")

// memory is what a process holds in memory, in bytes.
type memory struct {
	own    int64 // heap, stacks, and whatever else no file stands behind (RssAnon)
	mapped int64 // pages of files, of the store and of the program itself, which the system can drop at any time (RssFile, RssShmem)
	peak   int64 // the most that there ever was of both together (VmHWM)
}

// parseMemory reads /proc/PID/status of Linux, whose kB are of 1,024 bytes.
func parseMemory(status string) (m memory, err error) {
	found := 0
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "RssAnon":
			to = &m.own
		case "RssFile", "RssShmem":
			to = &m.mapped
		case "VmHWM":
			to = &m.peak
		default:
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("%s of a process: %w", name, err)
		}
		*to += n << 10
		found++
	}
	if found != 4 {
		return memory{}, errNotTold
	}
	return m, nil
}

// most is the most of each part, which need not have been at the same time.
func (m memory) most(n memory) memory {
	return memory{own: max(m.own, n.own), mapped: max(m.mapped, n.mapped), peak: max(m.peak, n.peak)}
}

// spent is time of the processors, in ticks of the system's clock.
type spent struct {
	all   int64 // whatever they did, doing nothing included
	other int64 // for other processes than those that are measured, or for other machines on the same host
}

// readSpent says what was spent since the machine was started. Measured are this
// process and those with the given ids.
func readSpent(pids ...int) (spent, error) {
	all, err := os.ReadFile("/proc/stat")
	if err != nil {
		return spent{}, errNotTold
	}
	var own []string
	for _, pid := range append(pids, os.Getpid()) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return spent{}, errNotTold
		}
		own = append(own, string(stat))
	}
	return parseSpent(string(all), own...)
}

// parseSpent reads /proc/stat and the /proc/PID/stat of those that are measured.
func parseSpent(all string, own ...string) (s spent, err error) {
	// cpu user nice system idle iowait irq softirq steal guest …; guest is in user too.
	line, _, _ := strings.Cut(all, "\n")
	name, rest, _ := strings.Cut(line, " ")
	n, err := ticks(rest, 0, 8)
	if err != nil || name != "cpu" {
		return spent{}, errNotTold
	}
	for i, v := range n {
		s.all += v
		if i != 3 && i != 4 { // idle, and waiting for the disk
			s.other += v
		}
	}
	for _, stat := range own {
		// The second field is a name in brackets, which may hold anything; the 14th is utime, the 15th stime.
		n, err := ticks(stat[strings.LastIndexByte(stat, ')')+1:], 14-3, 15-2)
		if err != nil {
			return spent{}, err
		}
		s.other -= n[0] + n[1]
	}
	return s, nil
}

// ticks are the fields of a line from one on to before another.
func ticks(line string, from, to int) ([]int64, error) {
	fields := strings.Fields(line)
	if len(fields) < to {
		return nil, errNotTold
	}
	out := make([]int64, 0, to-from)
	for _, field := range fields[from:to] {
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("what the processors did: %w", err)
		}
		out = append(out, v)
	}
	return out, nil
}

// share is the part of the processors' time since before that others took, from
// 0 to 1.
func (s spent) share(before spent) float64 {
	if s.all <= before.all {
		return 0
	}
	return max(0, float64(s.other-before.other)/float64(s.all-before.all))
}
