package win32

// What the parsers of descriptors make of bytes.
var (
	ParseDevice   = parseDevice
	WorldwideName = worldwideName
)

// Serial is what a disk is known by.
func (d Disk) Serial() string { return d.serial() }
