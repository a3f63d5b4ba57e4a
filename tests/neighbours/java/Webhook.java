import com.pusher.rest.Pusher;
import java.nio.charset.StandardCharsets;

/** Prints whether the official library of Java takes a webhook: key, secret, its key and signature, body on stdin. */
public class Webhook {
  public static void main(String[] given) throws Exception {
    Pusher pusher = new Pusher("1", given[0], given[1]);
    String body = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
    System.out.println(pusher.validateWebhookSignature(given[2], given[3], body));
  }
}
