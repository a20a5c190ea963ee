import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** Prints what JDBC tells of a schema as one JSON object per line: {"of": kind, column: value, ...}. */
public class ReadMetadata {
    public static void main(String[] arguments) throws Exception {
        String schema = arguments[0];
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        try (Connection connection = DriverManager.getConnection(System.getenv("JDBC_URL"), properties)) {
            DatabaseMetaData metadata = connection.getMetaData();
            List<String> tables = new ArrayList<>();
            try (ResultSet found = metadata.getTables(null, schema, "%", new String[] {"TABLE", "VIEW"})) {
                while (found.next()) {
                    tables.add(found.getString("TABLE_NAME"));
                }
            }
            print("table", metadata.getTables(null, schema, "%", new String[] {"TABLE", "VIEW"}));
            print("column", metadata.getColumns(null, schema, "%", "%"));
            for (String table : tables) {
                print("primary_key", metadata.getPrimaryKeys(null, schema, table));
                print("imported_key", metadata.getImportedKeys(null, schema, table));
            }
            for (String query : List.of(arguments).subList(1, arguments.length)) {
                print("row", connection.createStatement().executeQuery(query));
            }
        }
    }

    private static void print(String kind, ResultSet rows) throws Exception {
        ResultSetMetaData columns = rows.getMetaData();
        while (rows.next()) {
            StringBuilder line = new StringBuilder("{\"of\": " + quote(kind));
            for (int place = 1; place <= columns.getColumnCount(); place++) {
                Object value = rows.getObject(place);
                line.append(", ").append(quote(columns.getColumnLabel(place))).append(": ")
                    .append(value == null ? "null" : quote(value.getClass().getSimpleName() + ":" + value));
            }
            System.out.println(line.append("}"));
        }
        rows.close();
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                quoted.append('\\').append(letter);
            } else if (letter < ' ' || letter > '~') {
                quoted.append(String.format("\\u%04x", (int) letter));
            } else {
                quoted.append(letter);
            }
        }
        return quoted.append('"').toString();
    }
}
