import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.app.HL7Service;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.parser.GenericModelClassFactory;
import ca.uhn.hl7v2.protocol.ApplicationRouter;
import ca.uhn.hl7v2.protocol.ReceivingApplication;
import ca.uhn.hl7v2.protocol.ReceivingApplicationException;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.io.PrintWriter;
import java.util.Map;

/** An MLLP receiver with HAPI: takes what it can read, and writes each down as it comes, in hexadecimal digits (see seen.py). */
public class Receiver {
  public static void main(String[] arguments) throws Exception {
    PrintWriter log = new PrintWriter(arguments[1]);
    HapiContext context = new DefaultHapiContext();
    context.setModelClassFactory(new GenericModelClassFactory());
    context.setValidationContext(ValidationContextFactory.noValidation());
    HL7Service service = context.newServer(Integer.parseInt(arguments[0]), false);
    service.registerApplication(new All(), new ReceivingApplication<Message>() {
      public boolean canProcess(Message message) {
        return true;
      }

      public Message processMessage(Message message, Map<String, Object> about)
          throws ReceivingApplicationException, HL7Exception {
        StringBuilder digits = new StringBuilder();
        about.get("raw-message").toString().chars().filter(c -> c < 128).forEach(c -> digits.append(String.format("%02x", c)));
        synchronized (log) {
          log.println(digits);
          log.flush();
        }
        try {
          return message.generateACK();
        } catch (java.io.IOException error) {
          throw new HL7Exception(error);
        }
      }
    });
    service.startAndWait();
    System.out.println("listening");
  }

  static class All implements ApplicationRouter.AppRoutingData {
    public String getMessageType() {
      return "*";
    }

    public String getTriggerEvent() {
      return "*";
    }

    public String getProcessingId() {
      return "*";
    }

    public String getVersion() {
      return "*";
    }
  }
}
