package macos

import (
	"context"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/seed-357fa782/licensed/client/internal/plist"
)

const (
	ioreg = "/usr/sbin/ioreg"
	// interfaces is kept by the system for everybody to read.
	interfaces = "/Library/Preferences/SystemConfiguration/NetworkInterfaces.plist"
	// patience is for how long ioreg is waited for, which takes some 10 ms.
	patience = 5 * time.Second
)

// Ask asks macOS. It runs ioreg twice at once, and waits for no longer than ctx
// says, nor than five seconds.
func Ask(ctx context.Context) Answers {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var a Answers
	var wg sync.WaitGroup
	wg.Go(func() { a.Platform = run(ctx, "IOPlatformExpertDevice") })
	wg.Go(func() { a.Storage = run(ctx, "IOBlockStorageDevice") })
	a.Interfaces = read(interfaces)
	a.Processor, a.Model = sysctl("machdep.cpu.brand_string"), sysctl("hw.model")
	if n, err := syscall.SysctlUint32("kern.hv_vmm_present"); err == nil {
		a.Hypervisor = n != 0
	}
	wg.Wait()
	return a
}

// run returns what ioreg says of the objects of a class, or nothing.
func run(ctx context.Context, class string) []byte {
	cmd := exec.CommandContext(ctx, ioreg, "-a", "-r", "-d", "1", "-c", class) //nolint:gosec // an absolute path and words of our own
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out := limited{left: plist.MaxList}
	cmd.Stdout = &out
	if cmd.Run() != nil {
		return nil
	}
	return out.data
}

// limited keeps what is written to it, up to a limit; more is an error, which
// ends the program that writes.
type limited struct {
	data []byte
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, io.ErrShortWrite
	}
	l.left -= len(p)
	l.data = append(l.data, p...)
	return len(p), nil
}

// read returns a file that everybody may read. What root alone can read is
// refused to root as well.
func read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	if info, err := f.Stat(); err != nil || info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, plist.MaxList+1))
	if err != nil {
		return nil
	}
	return data
}

func sysctl(name string) string {
	value, err := syscall.Sysctl(name)
	if err != nil {
		return ""
	}
	return value
}
