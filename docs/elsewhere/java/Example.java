package com.example.licensing;

import com.example.licensing.StrictJson.Refused;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/** java Example ANCHORS PRODUCT STATE FILE.lic: exit status 0 where the product may run here and now. */
final class Example {
    private static String run(Path anchors, String product, Path state, Path file) throws IOException {
        // What was seen: the newest date of all, the date of the newest licence, the newest key set.
        String was = Files.exists(state) ? Files.readString(state) : "0\n0\n";
        String[] seen = was.split("\n", 3);
        long floor = Long.parseLong(seen[0]), newest = Long.parseLong(seen[1]);
        // The anchors: compile them in.
        var verifier = new LicenseVerifier(LicenseVerifier.parseAnchors(Files.readAllBytes(anchors)), product, "", seen[2]);
        try {
            var licence = verifier.verify(Files.readAllBytes(file));
            long iat = licence.claims().number("iat");
            floor = Math.max(floor, licence.proven());
            if (iat < newest) {
                return "older than one that was seen";
            }
            newest = iat;

            String id = System.getenv().getOrDefault("LICENSED_MACHINE_ID", "");
            if (!licence.match(Map.of("custom", List.of(LicenseVerifier.digest(licence.salt(), "custom", id))), "")) {
                return "another machine";
            }
            var status = licence.check(Math.max(System.currentTimeMillis() / 1000, floor));
            if (!status.usable()) {
                return status.reason();
            }
            System.out.println("licensed: " + status.phase() + " " + String.join(" ", new TreeSet<>(status.features().keySet())));
            return "";
        } catch (Refused e) {
            return e.getMessage(); // e.reason is forged, damaged or wrong_product
        } finally {
            String now = floor + "\n" + newest + "\n" + verifier.keys();
            if (!now.equals(was)) {
                Path next = state.resolveSibling(state.getFileName() + ".new");
                Files.writeString(next, now);
                Files.move(next, state, StandardCopyOption.ATOMIC_MOVE);
            }
        }
    }

    public static void main(String[] args) throws IOException {
        String wrong = run(Path.of(args[0]), args[1], Path.of(args[2]), Path.of(args[3]));
        if (!wrong.isEmpty()) {
            System.err.println("not licensed: " + wrong);
            System.exit(1);
        }
    }
}
