package client

// Memory is what a state file holds, for tests that edit one.
type Memory = memory

// Encode writes a memory as a state file, with a check that fits.
func Encode(m Memory) ([]byte, error) { return m.encode() }

// Decode reads a state file.
func Decode(data []byte) (Memory, error) { return decodeMemory(data) }

// SetAside sets a file aside that was read as damaged.
func (c *FileCache) SetAside(read []byte) (moved bool, err error) { return c.setAside(read) }
